"""File lock: one process at a time, until the file is closed or the process is gone."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def try_lock(stream: IO[Any]) -> bool:
    """Whether the open file is locked by us now; False where another process holds it. Raises `OSError`."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
