"""Do we see the GPUs of this machine, and the ranks that somebody else has started?"""

from __future__ import annotations

import os

import pytest

from tunefleet.plan.machine import Machine, ranks_started


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}, (3, 8)),  # torchrun
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "16"}, (5, 16)),  # srun
        (
            {"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"},
            (1, 2),
        ),  # torchrun in srun
        ({"SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, None),  # a batch script: no step, we start the ranks
        ({"RANK": "0"}, None),
        ({"WORLD_SIZE": "2"}, None),
    ],
    ids=["none", "torchrun", "srun", "torchrun in srun", "sbatch", "only rank", "only size"],
)
def test_ranks_started(environment: dict[str, str], expected: tuple[int, int] | None) -> None:
    assert ranks_started(environment) == expected


def test_srun_with_one_task_leaves_the_ranks_to_us() -> None:
    assert ranks_started({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("0", 1),
        ("0,1,3", 3),
        ("", 0),
        ("-1", 0),
        (" ", 0),
        ("0, 1", 2),
        ("1,", 1),
        ("GPU-8932f937-d72c,GPU-1c22b5a0-0000", 2),
    ],
)
def test_cuda_visible_devices(visible: str, gpus: int) -> None:
    assert Machine.this({"CUDA_VISIBLE_DEVICES": visible}).gpus == gpus


def test_this_machine() -> None:
    machine = Machine.this({"CUDA_VISIBLE_DEVICES": "", "RANK": "2", "WORLD_SIZE": "4"})
    assert machine == Machine(gpus=0, cores=len(os.sched_getaffinity(0)), world_size=4, rank=2, processes_here=4)


def test_without_a_launcher_there_is_no_world() -> None:
    machine = Machine.this({"CUDA_VISIBLE_DEVICES": ""})
    assert (machine.world_size, machine.rank) == (None, 0)
