"""Peak memory of this process."""

from __future__ import annotations

import resource
import sys

import torch

from tunefleet.base.units import GIB

_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def peak_gib() -> float:
    """GiB: on a GPU what torch has allocated on it, else the resident size of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / GIB


def reserved_gib() -> float | None:
    """GiB that torch's allocator has taken from the GPU at most, its unused blocks among them; None without a GPU.

    What a GPU must have is this, and besides what CUDA and NCCL take for themselves.
    """
    return torch.cuda.max_memory_reserved() / GIB if torch.cuda.is_available() else None
