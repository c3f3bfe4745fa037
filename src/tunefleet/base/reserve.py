"""Reserve: room in a run directory for its final state, kept while the disk has it and spent when it has no more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tunefleet.base import disk, files
from tunefleet.base.errors import DiskError

FILE = ".reserve"
_SIZE = 1 << 18  # bytes: a status, and why each of some thirty ranks left


def keep(root: Path) -> None:
    """Keeps it in the run directory `root`, if it is not there. Raises `DiskError` where there is no room for it."""
    path = root / FILE
    if path.exists() and path.lstat().st_size == _SIZE:
        return
    with disk.writing(path, _SIZE):
        stream = open(path, "wb", opener=files.no_link)
        try:
            with stream:
                stream.write(os.urandom(_SIZE))  # zeros take no room where a file system compresses
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            path.unlink()  # half of it is room for a final state
            raise


def spend(root: Path, write: Callable[[], None]) -> None:
    """Writes; where the disk of the run directory `root` is full, once more in the room of its reserve.

    Raises `DiskError` where that is not enough, or where the disk is not full but fails.
    """
    try:
        write()
    except DiskError as error:
        if error.errno not in disk.FULL:
            raise
        (root / FILE).unlink(missing_ok=True)
        write()
