"""Do we recognise every launcher, and does a person hear of two that contradict each other?"""

from __future__ import annotations

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.plan.processes.ranks import ranks

Environment = dict[str, str]


def torchrun(rank: int, world: int, hosts: int = 1) -> Environment:
    here = world // hosts
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank % here),
        "LOCAL_WORLD_SIZE": str(here),
        "GROUP_WORLD_SIZE": str(hosts),
        "TORCHELASTIC_RUN_ID": "none",
        "MASTER_ADDR": "n1",
        "MASTER_PORT": "29500",
    }


def deepspeed(rank: int, world: int, hosts: int = 1) -> Environment:
    here = world // hosts
    numbers = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank % here, "LOCAL_SIZE": here, "CROSS_SIZE": hosts}
    return {name: str(number) for name, number in numbers.items()}


def open_mpi(rank: int, world: int, hosts: int = 1) -> Environment:
    names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
    values = (rank, world, rank % (world // hosts), world // hosts)
    return {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in zip(names, values, strict=True)}


def hydra_mpi(rank: int, world: int, hosts: int = 1) -> Environment:
    names = ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
    values = (rank, world, rank % (world // hosts), world // hosts)
    return {name: str(value) for name, value in zip(names, values, strict=True)}


def srun(rank: int, tasks: int, nodes: int = 1) -> Environment:
    here = tasks // nodes
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_STEP_TASKS_PER_NODE": f"{here}(x{nodes})" if nodes > 1 else str(here),
        "SLURM_LOCALID": str(rank % here),
        "SLURM_NODEID": str(rank // here),
        "SLURM_JOB_ID": "7",
    }


@pytest.mark.parametrize(
    ("environment", "by"),
    [
        (torchrun(5, 8, hosts=2), "torchrun"),
        (deepspeed(5, 8, hosts=2), "deepspeed"),
        (open_mpi(5, 8, hosts=2), "mpirun"),
        (hydra_mpi(5, 8, hosts=2), "mpirun"),
        (srun(5, 8, nodes=2), "srun"),
    ],
    ids=["torchrun", "deepspeed", "Open MPI", "MPICH", "srun"],
)
def test_every_launcher_is_understood(environment: Environment, by: str) -> None:
    found = ranks(environment)
    assert found is not None
    assert (found.by, found.rank, found.world_size, found.local_rank, found.processes_here) == (by, 5, 8, 1, 4)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"},
        srun(0, 1),
        {**srun(0, 1), "PMI_RANK": "0", "PMI_SIZE": "1"},
    ],
    ids=["a shell", "a batch script", "srun --pty", "srun --pty that speaks PMI"],
)
def test_where_we_start_the_ranks_ourselves(environment: Environment) -> None:
    assert ranks(environment) is None


@pytest.mark.parametrize(
    ("tasks_per_node", "node", "here"), [("4", 0, 4), ("2(x3)", 2, 2), ("4,2(x2)", 0, 4), ("4,2(x2)", 2, 2)]
)
def test_tasks_on_this_node(tasks_per_node: str, node: int, here: int) -> None:
    step = {**srun(0, 8, nodes=2), "SLURM_STEP_TASKS_PER_NODE": tasks_per_node, "SLURM_NODEID": str(node)}
    found = ranks(step)
    assert found is not None
    assert found.processes_here == here


# Two launchers


@pytest.mark.parametrize(
    "outer",
    [
        srun(1, 2, nodes=2),
        {**srun(1, 2, nodes=2), "PMI_RANK": "1", "PMI_SIZE": "2"},
        open_mpi(1, 2, hosts=2),
        srun(0, 1),
    ],
    ids=["srun", "srun with PMI", "mpirun", "srun --pty"],
)
@pytest.mark.parametrize("inner", [torchrun, deepspeed])
def test_a_launcher_on_each_host_is_legal(inner: object, outer: Environment) -> None:
    assert callable(inner)
    found = ranks({**outer, **inner(5, 8, hosts=2)})
    assert found is not None
    assert (found.rank, found.world_size, found.local_rank, found.processes_here) == (5, 8, 1, 4)


def test_mpirun_starts_itself_on_other_hosts_through_srun() -> None:
    found = ranks({**srun(1, 2, nodes=2), **open_mpi(6, 8, hosts=2)})
    assert found is not None
    assert (found.by, found.rank, found.world_size) == ("mpirun", 6, 8)


def test_two_that_say_the_same_complete_each_other() -> None:
    """RANK=$SLURM_PROCID in a script, or srun that speaks PMI."""
    for double in ({"RANK": "5", "WORLD_SIZE": "8"}, {"PMI_RANK": "5", "PMI_SIZE": "8"}, {"WORLD_SIZE": "8"}):
        found = ranks({**srun(5, 8, nodes=2), **double})
        assert found is not None
        assert (found.by, found.rank, found.local_rank, found.processes_here) == ("srun", 5, 1, 4)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {**srun(0, 4), **torchrun(1, 2)},
            "torchrun says rank 1 of 2 (RANK, WORLD_SIZE), and srun says rank 0 of 4 (SLURM_PROCID, "
            "SLURM_STEP_NUM_TASKS). Start with one of them; or, if srun is to start torchrun, let it start one on "
            "each host.",
        ),
        ({**srun(0, 2, nodes=2), **torchrun(1, 4, hosts=1)}, "torchrun says rank 1 of 4"),  # a world on each host
        ({**open_mpi(0, 4), **torchrun(0, 2)}, "mpirun says rank 0 of 4 (OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE)"),
        ({**hydra_mpi(3, 4), "RANK": "0", "WORLD_SIZE": "2"}, "left over from something else: `unset RANK WORLD_SIZE`"),
        ({**srun(0, 4), **hydra_mpi(0, 2)}, "mpirun says rank 0 of 2 (PMI_RANK, PMI_SIZE), and srun"),
    ],
    ids=["torchrun in each task", "torchrun alone on each host", "torchrun in each rank", "leftovers", "mpirun"],
)
def test_a_contradiction_names_both(environment: Environment, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ranks(environment)
    assert len(caught.value.complaints) == 1
    assert words in str(caught.value)


# Half an environment, and values that mean nothing


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RANK": "0"}, "RANK=0 is set and WORLD_SIZE is not"),
        ({"WORLD_SIZE": "2"}, "Set RANK too, or let tunefleet start the processes: `unset WORLD_SIZE`."),
        ({"OMPI_COMM_WORLD_RANK": "1"}, "OMPI_COMM_WORLD_SIZE is not"),
        ({"PMI_SIZE": "2"}, "PMI_RANK is not"),
        ({**srun(3, 4), "WORLD_SIZE": "2"}, "WORLD_SIZE=2 is set and RANK is not"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK=one is not a whole number"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK=-1 is not a whole number"),
        ({**torchrun(0, 2), "LOCAL_RANK": ""}, "LOCAL_RANK= is not a whole number from 0. Set it right, or `unset"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 is no rank of WORLD_SIZE=2: ranks count from 0 to 1."),
    ],
)
def test_half_an_environment_says_what_to_do(environment: Environment, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ranks(environment)
    assert words in str(caught.value)
