"""CUDA extensions: whether DeepSpeed can build on this machine what a strategy needs of them."""

from __future__ import annotations

import torch
from deepspeed.ops.op_builder import builder
from torch.utils import cpp_extension

from tunefleet.base import builds
from tunefleet.base.errors import RunError
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.libraries import torch_private


def expect_cuda_compiler(parallel: ParallelConfig) -> None:
    """Raises `RunError` where nvcc cannot build what ZeRO++ or a GPU's states on nvme need."""
    quantizes = parallel.quantized_weights or parallel.quantized_gradients
    if not (quantizes or Place.NVME in (parallel.offload_optimizer, parallel.offload_parameters)):
        return
    if not torch.cuda.is_available():
        return
    builds.put_ninja_on_path()
    torch_private.guard_builds()
    if reason := _reason():
        other = "parallel=zero3" if quantizes else "parallel=zero3_offload"
        raise RunError(f"{parallel.name}: DeepSpeed must build CUDA code, and {reason}. Or use {other}.")


def _reason() -> str:
    """Why nothing can be built; empty where it can."""
    version = torch.version.cuda
    if cpp_extension.CUDA_HOME is None:
        return f"there is no nvcc: install the CUDA {version} toolkit, and set CUDA_HOME to its folder"
    try:
        builder.assert_no_cuda_mismatch("tunefleet")
    except Exception as error:  # DeepSpeed raises its own, and an Exception
        return f"the toolkit in CUDA_HOME={cpp_extension.CUDA_HOME} is not that of torch, CUDA {version}: {error}"
    return ""
