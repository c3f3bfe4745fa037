"""Peak speed: the arithmetic that this process reaches at most, measured in a fraction of a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_SIZES = {"cpu": 768, "cuda": 4096}  # of square matrices: large enough for each to be used well
_TIMES = 6


def measured_tflops(dtype: torch.dtype, device: torch.device) -> float:
    """The best TFLOP/s of a few products of two matrices, with this process's threads.

    On a CPU it is what one thread reaches in its own CPU time, times the threads: with the clock on the wall, a machine
    that others use had a peak of a tenth, and the MFU of a later, quieter step was above 100%.
    """
    size = _SIZES[device.type]
    matrix, factor = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    if device.type == "cpu":
        threads = torch.get_num_threads()
        with _one_thread():
            seconds = _least_seconds(matrix, factor, time.thread_time) / threads
    else:
        seconds = _least_seconds(matrix, factor, time.perf_counter)
    return 2 * size**3 / seconds / 1e12


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _least_seconds(matrix: torch.Tensor, factor: torch.Tensor, clock: Callable[[], float]) -> float:
    return min(_seconds(matrix, factor, clock) for _ in range(_TIMES))


def _seconds(matrix: torch.Tensor, factor: torch.Tensor, clock: Callable[[], float]) -> float:
    began = clock()
    float((matrix @ factor)[0, 0])  # waits for a device that works ahead
    return clock() - began
