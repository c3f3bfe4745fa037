"""Do we see the GPUs of this machine, and the ranks that somebody else has started?"""

from __future__ import annotations

import os
import shutil

import pytest

from tunefleet.plan.processes.machine import Machine, _fast_bf16, devices


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


def test_devices_are_named_as_cuda_visible_devices_names_them() -> None:
    assert devices({"CUDA_VISIBLE_DEVICES": "3, 1,GPU-8932f937"}) == ("3", "1", "GPU-8932f937")
    assert devices({"CUDA_VISIBLE_DEVICES": ""}) == ()


def test_this_machine() -> None:
    machine = Machine.this(
        {"CUDA_VISIBLE_DEVICES": "", "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    )
    assert machine == Machine(
        gpus=0,
        cores=len(os.sched_getaffinity(0)),
        world_size=4,
        rank=2,
        processes_here=2,
        local_rank=0,
        launcher="the environment",
        compiler=shutil.which("c++") is not None,
        fast_bf16=_fast_bf16(),
    )


def test_how_many_are_here_is_not_guessed() -> None:
    machine = Machine.this({"CUDA_VISIBLE_DEVICES": "", "RANK": "0", "WORLD_SIZE": "4"})
    assert (machine.processes_here, machine.local_rank) == (None, None)
    assert Machine.this({"CUDA_VISIBLE_DEVICES": "", "RANK": "0", "WORLD_SIZE": "1"}).processes_here == 1


def test_without_a_launcher_there_is_no_world() -> None:
    machine = Machine.this({"CUDA_VISIBLE_DEVICES": ""})
    assert (machine.world_size, machine.rank) == (None, 0)
