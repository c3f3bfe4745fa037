"""Are the processes of a run divided as the machine and the strategy allow?"""

from __future__ import annotations

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.config.launch import LaunchConfig
from tunefleet.config.parallel import ParallelConfig
from tunefleet.plan.processes.layout import layout
from tunefleet.plan.processes.machine import Machine

DDP = ParallelConfig()
SINGLE = ParallelConfig(name="single", max_processes=1)


@pytest.mark.parametrize(
    ("machine", "processes", "world"),
    [
        (Machine(), None, 1),
        (Machine(gpus=8), None, 8),
        (Machine(gpus=8), 2, 2),
        (Machine(), 3, 3),
        (Machine(world_size=4, rank=1), None, 4),
        (Machine(gpus=8, world_size=4), 2, 4),  # ranks that are there already are what there is
    ],
)
def test_number_of_processes(machine: Machine, processes: int | None, world: int) -> None:
    found = layout(DDP, LaunchConfig(processes=processes), machine)
    assert (found.world_size, found.data_parallel, found.processes_here) == (world, world, world)


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (2, "cuda")])
def test_device(gpus: int, device: str) -> None:
    assert layout(DDP, LaunchConfig(), Machine(gpus=gpus)).device == device


def test_a_strategy_for_one_process_takes_one_of_many_gpus() -> None:
    assert layout(SINGLE, LaunchConfig(), Machine(gpus=8)).world_size == 1


@pytest.mark.parametrize(
    ("processes", "machine", "move"),
    [(2, Machine(), "launch.processes=1"), (None, Machine(world_size=2), "start 1 process")],
    ids=["asked for", "started"],
)
def test_more_processes_than_the_strategy_can_use(processes: int | None, machine: Machine, move: str) -> None:
    with pytest.raises(ConfigError, match=rf"single uses 1 process and this run has 2\. Use parallel=ddp, or {move}\."):
        layout(SINGLE, LaunchConfig(processes=processes), machine)


@pytest.mark.parametrize(
    ("processes", "machine", "message"),
    [
        (2, Machine(gpus=1), r"launch\.processes: 2 processes and 1 GPU: .* Use launch\.processes=1, or CUDA_VISIBLE"),
        (9, Machine(gpus=8), r"9 processes and 8 GPUs"),
        (
            None,
            Machine(gpus=2, world_size=8, processes_here=4, launcher="srun"),
            r"4 processes were started where 2 GPUs",
        ),
    ],
)
def test_each_process_needs_a_gpu_of_its_own(processes: int | None, machine: Machine, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layout(DDP, LaunchConfig(processes=processes), machine)


@pytest.mark.parametrize(
    "machine",
    [
        Machine(gpus=1, world_size=8, processes_here=8, launcher="srun"),  # --gpus-per-task=1: each sees another one
        Machine(gpus=8, world_size=16, processes_here=8, launcher="torchrun"),
        Machine(gpus=8),
        Machine(),
    ],
)
def test_one_gpu_for_each_process_is_enough(machine: Machine) -> None:
    assert layout(DDP, LaunchConfig(processes=None if machine.world_size else 4), machine).world_size in (4, 8, 16)


@pytest.mark.parametrize(
    ("degrees", "world", "expected"),
    [
        ({}, 4, [0, 1, 2, 3]),
        ({"tensor": 2}, 4, [0, 0, 1, 1]),
        ({"sequence": 2}, 6, [0, 0, 1, 1, 2, 2]),
        ({"pipeline": 2}, 4, [0, 1, 0, 1]),
        ({"tensor": 2, "pipeline": 2}, 8, [0, 0, 1, 1, 0, 0, 1, 1]),
        ({"tensor": 2, "pipeline": 2}, 4, [0, 0, 0, 0]),
    ],
)
def test_peers_of_one_model_copy_read_the_same_rows(degrees: dict[str, int], world: int, expected: list[int]) -> None:
    divided = layout(ParallelConfig(**degrees), LaunchConfig(), Machine(world_size=world))
    assert [divided.data_rank(rank) for rank in range(world)] == expected
    assert divided.data_parallel == len(set(expected))


def test_one_copy_of_the_model_starts_where_no_number_is_given() -> None:
    assert layout(ParallelConfig(tensor=2, pipeline=2), LaunchConfig(), Machine()).world_size == 4


@pytest.mark.parametrize(
    ("degrees", "processes", "said"),
    [
        ({"tensor": 2}, 3, "tensor(2) does not divide 3 processes. Use 4 processes, or parallel.tensor=1."),
        (
            {"tensor": 2, "pipeline": 2},
            6,
            "tensor(2) x pipeline(2) = 4 does not divide 6 processes. "
            "Use 8 processes, or parallel.tensor=1 or parallel.pipeline=1.",
        ),
        ({"sequence": 4}, 1, "sequence(4) does not divide 1 process. Use 4 processes, or parallel.sequence=1."),
    ],
)
def test_degrees_that_do_not_divide_the_processes(degrees: dict[str, int], processes: int, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        layout(ParallelConfig(**degrees), LaunchConfig(processes=processes), Machine())
    assert list(refused.value.complaints) == [f"parallel: {said}"]


@pytest.mark.parametrize(
    ("degrees", "speakers", "counting", "drawn"),
    [
        ({}, [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]),
        ({"tensor": 2}, [0, 2], [0, 2], [0, 0, 1, 1]),
        ({"sequence": 2}, [0, 2], [0, 1, 2, 3], [0, 1, 2, 3]),  # each has a part of the tokens
        ({"pipeline": 2}, [0, 1], [0, 1], [0, 1, 2, 3]),
        ({"tensor": 4}, [0], [0], [0, 0, 0, 0]),
    ],
)
def test_one_process_speaks_for_each_copy_and_tensor_peers_draw_alike(
    degrees: dict[str, int], speakers: list[int], counting: list[int], drawn: list[int]
) -> None:
    found = layout(ParallelConfig(name="mine", **degrees), LaunchConfig(), Machine(world_size=4))
    assert [rank for rank in range(4) if found.is_leader(rank)] == speakers
    assert [rank for rank in range(4) if found.counts_tokens(rank)] == counting
    assert [found.rng_rank(rank) for rank in range(4)] == drawn
