"""Digests: the SHA-256 of every byte of a file, remembered for large ones; of weights above 64 MiB a sample."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tunefleet.base import files, owner_lock
from tunefleet.base.errors import DataError

LARGE = 1 << 22  # bytes; a smaller file is read in a few milliseconds
SETTLED = 2.0  # seconds without a change after which a file's time tells the next change
SAMPLED = 1 << 26  # bytes; `sampled` reads a smaller file whole
PIECE = 1 << 20  # bytes
_PIECES = 16


def digest(path: Path, memory: Path | None = None) -> bytes:
    """The SHA-256 of a file's bytes. Raises `DataError`.

    Of a large file the folder `memory` keeps it, under path, size, inode and both times of change, and one process at
    a time reads it. One that was changed a moment ago is not remembered: the next change might carry the same time.
    """
    with _readable(path):
        stat = path.stat()
        if memory is None or stat.st_size < LARGE:
            return file_digest(path)
        note = memory / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]}.json"
        remembered = _remembered(note, stat)
        if remembered is not None:
            return remembered
        with _one_reader(note.with_suffix(".lock")):
            return _remembered(note, stat) or _read_and_note(path, stat, note)


def sampled(path: Path) -> bytes:
    """The SHA-256 of a file of weights; above 64 MiB, of its size and 16 pieces of 1 MiB from its first to its last
    byte: every step of training changes all of them. Raises `DataError`.
    """
    with _readable(path), open(path, "rb", opener=files.plain) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= SAMPLED:
            return hashlib.file_digest(stream, "sha256").digest()
        sample = hashlib.sha256(str(size).encode())
        for number in range(_PIECES):
            stream.seek(number * (size - PIECE) // (_PIECES - 1))
            sample.update(stream.read(PIECE))
        return sample.digest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None


def file_digest(path: Path) -> bytes:
    """The SHA-256 of every byte of a file. Raises `OSError`."""
    with open(path, "rb", opener=files.plain) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _read_and_note(path: Path, stat: os.stat_result, note: Path) -> bytes:
    sha256 = file_digest(path)
    changed = max(stat.st_mtime, stat.st_ctime)
    if _state(stat) == _state(path.stat()) and time.time() - changed > SETTLED:
        with suppress(OSError):  # the file is read again next time, where its note cannot be written
            files.write_json(note, {"file": str(path), "state": _state(stat), "sha256": sha256.hex()})
    return sha256


def _state(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _remembered(note: Path, stat: os.stat_result) -> bytes | None:
    try:
        record = files.read_json(note)
        return bytes.fromhex(record["sha256"]) if record["state"] == _state(stat) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def _one_reader(lock: Path) -> Iterator[None]:
    """The ranks of a run ask together; where there can be no lock, each of them reads."""
    with ExitStack() as locks:
        with suppress(OSError):
            locks.enter_context(owner_lock.hold(lock, wait=math.inf))
        yield
