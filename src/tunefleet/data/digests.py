"""What do files hold: their SHA-256, remembered for large ones, so that a second start need not read them."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from tunefleet.base import files
from tunefleet.base.errors import DataError

_LARGE = 1 << 26  # bytes; a smaller file is read in less than a tenth of a second
_SETTLED = 2.0  # seconds without a change after which a file's time tells the next change


def digest(path: Path, memory: Path | None = None) -> bytes:
    """The digest of a file's bytes. Raises `DataError`.

    Of a large file the folder `memory` keeps it, under path, size, inode and both times of change. One that was
    changed a moment ago is not remembered: the next change might carry the same time.
    """
    try:
        before = path.stat()
        if memory is None or before.st_size < _LARGE:
            return _read(path)
        note = memory / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]}.json"
        known = _noted(note, before)
        if known is None:
            known = _read(path)
            changed = max(before.st_mtime, before.st_ctime)
            if _state(before) == _state(path.stat()) and time.time() - changed > _SETTLED:
                files.write_json(note, {"file": str(path), "state": _state(before), "sha256": known.hex()})
        return known
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None


def _read(path: Path) -> bytes:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _state(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _noted(note: Path, stat: os.stat_result) -> bytes | None:
    try:
        found = files.read_json(note)
        return bytes.fromhex(found["sha256"]) if found["state"] == _state(stat) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
