"""Do ranks that srun started find each other?"""

from __future__ import annotations

import pytest

from tunefleet.launch.adopted import complete, first_host
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
    before = dict(environment)
    complete(environment, Machine.this(environment))
    assert environment == before
