"""Peak speed: the arithmetic that this process reaches at most, measured in a fraction of a second."""

from __future__ import annotations

import time

import torch

_SIZES = {"cpu": 768, "cuda": 4096}  # of square matrices: large enough for each to be used well
_TIMES = 4


def measured_tflops(dtype: torch.dtype, device: torch.device) -> float:
    """The best TFLOP/s of a few products of two matrices, with this process's threads."""
    size = _SIZES[device.type]
    matrix, factor = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    seconds = min(_seconds(matrix, factor) for _ in range(_TIMES))
    return 2 * size**3 / seconds / 1e12


def _seconds(matrix: torch.Tensor, factor: torch.Tensor) -> float:
    began = time.perf_counter()
    float((matrix @ factor)[0, 0])  # waits for a device that works ahead
    return time.perf_counter() - began
