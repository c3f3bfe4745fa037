"""NVMe offload: whether it can work on this machine, and can be saved."""

from __future__ import annotations

from tunefleet.base.errors import RunError
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.libraries import torch_private


def expect_nvme_offload(parallel: ParallelConfig) -> None:
    """Raises `RunError` where nvme is wanted and DeepSpeed cannot build or load what it needs."""
    if Place.NVME not in (parallel.offload_optimizer, parallel.offload_parameters):
        return
    from deepspeed.ops.op_builder import AsyncIOBuilder  # asks the accelerator, so not at import

    torch_private.guard_builds()
    if not AsyncIOBuilder().is_compatible():
        raise RunError(
            f"{parallel.name}: DeepSpeed's async_io needs a C++ compiler and libaio with its headers "
            "(apt install libaio-dev, dnf install libaio-devel) on every machine. Or use parallel=zero3_offload."
        )


def expect_saveable(parallel: ParallelConfig) -> None:
    """Raises `RunError` where a checkpoint would not restore what was trained.

    DeepSpeed 0.19.8 copies the swapped tensors, but never reads the other optimizer states back (engine.py skips
    `_load_zero_checkpoint`): Adam's step count and every small tensor start anew, without a word.
    """
    if parallel.offload_optimizer is Place.NVME:
        raise RunError(
            f"{parallel.name}: optimizer states on nvme cannot be saved and restored. "
            "Use parallel.offload_optimizer=cpu for a run that must survive an interruption."
        )
