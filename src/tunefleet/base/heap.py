"""Heap: memory that a process frees stays with it, so that the next step of training need not fault it in again.

glibc gives the top of its heap back to the system when it is freed, and large blocks at once. A step on a CPU asks for
the same memory each time, and spends a tenth of it in page faults. Blocks from 32 MiB on still go back: kept among
the others they fragment the heap, which then grew with every step (docs/LOG.md, 2026-12-01).
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_SETTINGS = {  # mallopt(3)
    -3: 2**25,  # M_MMAP_THRESHOLD, its largest value: smaller blocks come from the heap
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD: bytes at the top of the heap before it shrinks
    -2: 2**26,  # M_TOP_PAD: bytes that the heap grows by at once
}


def keep_freed_memory() -> bool:
    """Whether this process keeps from now on what it frees: with glibc it does, elsewhere nothing changes."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return 0 not in [mallopt(setting, value) for setting, value in _SETTINGS.items()]
    return False
