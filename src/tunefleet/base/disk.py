"""Disk space: the room for what is to be written, and the error of a write that fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunefleet.base.errors import DiskError, TunefleetError
from tunefleet.base.units import size

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's numbers for a disk, or a quota, without room."""
_NEXT_MOVES = {
    **dict.fromkeys(FULL, "Make room there"),
    errno.EFBIG: "Raise the limit on the size of a file (ulimit -f)",
    errno.EIO: "Its disk fails: see the system's log",
    errno.EROFS: "Make its disk writable: it is mounted read-only",
}
_BLOCK = 1 << 12  # bytes of a file's last block, about, which are taken whole


@contextmanager
def writing(path: Path, needed: int = 0) -> Iterator[None]:
    """Within it, the system's errors about a disk become a `DiskError` that names `path` and the bytes `needed`."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        if error.errno not in _NEXT_MOVES:
            raise
        raise failure(path, error, needed) from error


def failure(path: Path, error: OSError, needed: int = 0) -> DiskError:
    """The `DiskError` of a failed write to `path`: what is wrong, needed (bytes), free, and the next move."""
    number = error.errno or errno.EIO
    return DiskError(_message(path, error.strerror or str(error), number, needed), number)


def recognised(error: BaseException, folder: Path) -> BaseException:
    """A `DiskError` where `error` is one about a disk, of the system or of a library; else `error` itself.

    `folder` is named where the error names no file.
    """
    if isinstance(error, TunefleetError):
        return error
    if isinstance(error, OSError) and error.errno in _NEXT_MOVES:
        return failure(Path(error.filename) if isinstance(error.filename, str) else folder, error)
    numbers = [number for number in _NEXT_MOVES if os.strerror(number) in str(error)]  # Rust and C++ give texts
    return failure(folder, OSError(numbers[0], os.strerror(numbers[0]))) if numbers else error


def expect_room(path: Path, needed: int, files: int = 1) -> None:
    """Raises `DiskError` where the disk of `path` has no room for so many bytes in so many files, or is read-only.

    A quota is not seen, nor what others write meanwhile: writing may fail all the same.
    """
    try:
        disk = os.statvfs(_existing(path))
    except OSError:
        return  # writing says why
    needed += files * _BLOCK
    number = 0
    if disk.f_flag & os.ST_RDONLY:
        number = errno.EROFS
    elif disk.f_blocks and disk.f_bavail * disk.f_frsize < needed:
        number = errno.ENOSPC
    if number:
        raise DiskError(_message(path, os.strerror(number), number, needed), number)


def _message(path: Path, reason: str, number: int, needed: int) -> str:
    move = _NEXT_MOVES.get(number, "Look at that folder")
    return f"{path}: {reason}{amounts(path, needed)}. {move}."


def amounts(path: Path, needed: int) -> str:
    """` (2 MiB needed, 1 MiB free)`, as far as that is known."""
    free = _free(path)
    sizes = ", ".join([f"{size(needed)} needed"] * bool(needed) + [f"{free} free"] * bool(free))
    return f" ({sizes})" if sizes else ""


def _free(path: Path) -> str:
    """What is free on the disk of `path`; empty where it does not say."""
    try:
        disk = os.statvfs(_existing(path))
    except OSError:
        return ""
    if disk.f_files and not disk.f_favail:
        return "no file is"
    return size(disk.f_bavail * disk.f_frsize) if disk.f_blocks else ""


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that is there."""
    return next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))
