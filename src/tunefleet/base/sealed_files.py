"""Sealed files: hashed while they are written, and on the disk when they are closed."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from tunefleet.base import pulse
from tunefleet.base.checksums import Checksum

_LARGE = 1 << 20  # bytes; a smaller piece is hashed before another thread would have begun
_SYNC_EVERY = 1 << 26  # bytes


class SealedFile:
    """A new file, written from its first byte to its last; a stream for `torch.save`.

    A large piece is hashed in a thread of its own while this one writes and syncs: hashlib and the kernel both let go
    of Python's lock. Once it is closed without an error, every byte is on the disk.
    """

    def __init__(self, path: Path) -> None:
        self._stream = open(path, "wb")  # closed by __exit__
        self._sha256 = hashlib.sha256()
        self._size = self._synced = 0
        self._hasher: ThreadPoolExecutor | None = None

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._hasher:
            self._hasher.shutdown()
        with self._stream:
            if kind is None:
                self._sync()

    def write(self, data: bytes | memoryview) -> int:
        """Writes and hashes all bytes of `data`; returns their number. Raises `OSError`."""
        view = memoryview(data).cast("B")
        if len(view) < _LARGE:
            self._sha256.update(view)
            self._write(view)
        else:
            self._hasher = self._hasher or ThreadPoolExecutor(1)
            hashing = self._hasher.submit(self._sha256.update, view)
            self._write(view)
            hashing.result()  # afterwards the memory is the caller's again
        return len(view)

    def flush(self) -> None:
        """Part of a stream's face: what is not written yet is written at the end."""

    @property
    def checksum(self) -> Checksum:
        """[bytes, SHA-256] of what was written."""
        return [self._size, self._sha256.hexdigest()]

    def _write(self, view: memoryview) -> None:
        self._stream.write(view)
        pulse.tick()
        self._size += len(view)
        if self._size - self._synced >= _SYNC_EVERY:
            self._sync()

    def _sync(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._synced = self._size


def write(path: Path, content: bytes) -> Checksum:
    """Writes and syncs a small file; returns its checksum. Raises `OSError`."""
    with SealedFile(path) as file:
        file.write(content)
    return file.checksum
