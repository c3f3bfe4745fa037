"""Is a machine that cannot build what ZeRO++ and NVMe need on a GPU told so before training, with what to install?"""

from __future__ import annotations

import pytest

from tunefleet.base.errors import RunError
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.engine import cuda_extensions
from tunefleet.engine.cuda_extensions import expect_cuda_compiler

ZEROPP = ParallelConfig("zeropp", 3, quantized_weights=True, quantized_gradients=True)
NVME = ParallelConfig("zero3_nvme", 3, offload_optimizer=Place.NVME, offload_parameters=Place.NVME)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As on a machine with a GPU, pip's torch and no toolkit."""
    monkeypatch.setattr(cuda_extensions.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda_extensions.torch.version, "cuda", "12.9")
    monkeypatch.setattr(cuda_extensions.cpp_extension, "CUDA_HOME", None)
    return monkeypatch


@pytest.mark.parametrize(("parallel", "other"), [(ZEROPP, "zero3"), (NVME, "zero3_offload")])
def test_without_a_toolkit(gpu: pytest.MonkeyPatch, parallel: ParallelConfig, other: str) -> None:
    message = rf"there is no nvcc: install the CUDA 12\.9 toolkit, and set CUDA_HOME.*Or use parallel={other}\."
    with pytest.raises(RunError, match=message):
        expect_cuda_compiler(parallel)


def test_a_toolkit_of_another_version(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(cuda_extensions.cpp_extension, "CUDA_HOME", "/usr/local/cuda-11.0")
    gpu.setattr(cuda_extensions.builder, "installed_cuda_version", lambda name="": (11, 0))
    with pytest.raises(RunError, match=r"CUDA_HOME=/usr/local/cuda-11\.0 is not that of torch, CUDA 12\.9"):
        expect_cuda_compiler(ZEROPP)
    gpu.setattr(cuda_extensions.builder, "installed_cuda_version", lambda name="": (12, 9))
    expect_cuda_compiler(ZEROPP)


def test_nothing_is_asked_of_others(gpu: pytest.MonkeyPatch) -> None:
    expect_cuda_compiler(ParallelConfig("zero3", 3))
    gpu.setattr(cuda_extensions.torch.cuda, "is_available", lambda: False)
    expect_cuda_compiler(NVME)
