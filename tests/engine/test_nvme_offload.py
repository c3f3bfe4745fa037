"""Is a drive that cannot be used, or whose states cannot be restored, named before training instead of after it?"""

from __future__ import annotations

import pytest
from deepspeed.ops.op_builder import AsyncIOBuilder

from tunefleet.base.errors import RunError
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.engine.nvme_offload import expect_nvme_offload, expect_saveable

NVME = ParallelConfig("zero3_nvme", 3, offload_optimizer=Place.NVME, offload_parameters=Place.NVME)
WEIGHTS_ALONE = ParallelConfig("zero3_nvme", 3, offload_optimizer=Place.CPU, offload_parameters=Place.NVME)


def can_build(monkeypatch: pytest.MonkeyPatch, yes: bool) -> None:
    monkeypatch.setattr(AsyncIOBuilder, "is_compatible", lambda self: yes)


@pytest.mark.parametrize("parallel", [NVME, WEIGHTS_ALONE])
def test_a_machine_without_libaio_is_told_what_to_install(
    parallel: ParallelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_build(monkeypatch, False)
    with pytest.raises(RunError, match=r"async_io needs a C\+\+ compiler and libaio.*Or use parallel=zero3_offload"):
        expect_nvme_offload(parallel)
    can_build(monkeypatch, True)
    expect_nvme_offload(parallel)


def test_nothing_is_asked_of_a_machine_whose_drive_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    can_build(monkeypatch, False)
    expect_nvme_offload(ParallelConfig("zero3_offload", 3, offload_optimizer=Place.CPU, offload_parameters=Place.CPU))


def test_states_that_a_checkpoint_would_lose_are_not_saved() -> None:
    with pytest.raises(RunError, match=r"cannot be saved and restored\. Use parallel\.offload_optimizer=cpu"):
        expect_saveable(NVME)
    expect_saveable(WEIGHTS_ALONE)
