"""Do ranks that somebody else started find each other?"""

from __future__ import annotations

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.launch.external_ranks import complete, first_host
from tunefleet.plan import Machine


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n[1-2]", "n1"),
        ("gpu-a[03-05,9]", "gpu-a03"),
        ("a,b", "a"),
        ("n[7,9]", "n7"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def _step(rank: int, job: int = 41) -> dict[str, str]:
    environment = {
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_LOCALID": str(rank % 2),
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_ID": "0",
    }
    complete(environment, Machine.this(environment))
    return environment


def test_ranks_of_a_step_meet_at_one_place() -> None:
    ranks = [_step(rank) for rank in range(4)]
    assert [environment["RANK"] for environment in ranks] == ["0", "1", "2", "3"]
    assert [environment["LOCAL_RANK"] for environment in ranks] == ["0", "1", "0", "1"]
    assert {environment["WORLD_SIZE"] for environment in ranks} == {"4"}
    assert len({(environment["MASTER_ADDR"], environment["MASTER_PORT"]) for environment in ranks}) == 1
    assert ranks[0]["MASTER_ADDR"] == "n1"


def test_two_jobs_on_a_node_have_two_ports() -> None:
    assert _step(0, job=41)["MASTER_PORT"] != _step(0, job=42)["MASTER_PORT"]


def test_what_torchrun_has_set_stays() -> None:
    environment = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29500"}
    previous = dict(environment)
    complete(environment, Machine.this(environment), port=4321)
    assert environment == previous


def _mpi(rank: int, world: int, here: int, **more: str) -> dict[str, str]:
    names = {"RANK": rank, "SIZE": world, "LOCAL_RANK": rank % here, "LOCAL_SIZE": here}
    return {**{f"OMPI_COMM_WORLD_{name}": str(value) for name, value in names.items()}, **more}


def _completed(environment: dict[str, str], port: int | None = None) -> dict[str, str]:
    complete(environment, Machine.this(environment), port)
    return {name: environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}


def test_ranks_of_mpirun_on_one_machine_meet_here() -> None:
    ranks = [_completed(_mpi(rank, 2, 2, PMIX_NAMESPACE="prterun-1@1")) for rank in (0, 1)]
    assert [environment_of_rank["RANK"] + environment_of_rank["LOCAL_RANK"] for environment_of_rank in ranks] == [
        "00",
        "11",
    ]
    assert {
        environment_of_rank["WORLD_SIZE"] + environment_of_rank["MASTER_ADDR"] for environment_of_rank in ranks
    } == {"2127.0.0.1"}
    assert len({environment_of_rank["MASTER_PORT"] for environment_of_rank in ranks}) == 1
    stranger = _completed(_mpi(0, 2, 2, PMIX_NAMESPACE="prterun-2@1"))
    assert stranger["MASTER_PORT"] != ranks[0]["MASTER_PORT"]


def test_the_port_that_was_asked_for() -> None:
    assert _completed(_mpi(0, 2, 2), port=4321)["MASTER_PORT"] == "4321"


@pytest.mark.parametrize(
    ("environment", "fragment"),
    [
        (_mpi(1, 4, 2), "of 4 processes 2 of them are on this machine. Set MASTER_ADDR to the host of rank 0"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "of 2 processes an unknown number of them are on this machine"),
    ],
    ids=["two hosts", "by hand"],
)
def test_ranks_on_several_hosts_need_an_address(environment: dict[str, str], fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment):
        _completed(dict(environment))
    completed = _completed({**environment, "MASTER_ADDR": "n1"})  # control
    assert completed["MASTER_ADDR"] == "n1"


def test_one_rank_needs_no_address() -> None:
    assert _completed({"RANK": "0", "WORLD_SIZE": "1"})["MASTER_ADDR"] == "127.0.0.1"


def test_ranks_do_not_meet_on_the_first_gpu() -> None:
    by_hand = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "0,1"}
    with pytest.raises(ConfigError, match="LOCAL_RANK: not set, and this machine has 2 GPUs"):
        _completed(dict(by_hand))
    assert _completed({**by_hand, "LOCAL_RANK": "1"})["LOCAL_RANK"] == "1"  # control
    assert _completed({**by_hand, "CUDA_VISIBLE_DEVICES": "1"})["LOCAL_RANK"] == "0"
