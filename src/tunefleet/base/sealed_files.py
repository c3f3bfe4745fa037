"""Sealed files: hashed while they are written, and on the disk when they are closed."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tunefleet.base import disk, files, pulse
from tunefleet.base.checksums import Checksum

_LARGE = 1 << 20  # bytes; a smaller piece is hashed before another thread would have begun
_PIECE = 1 << 24  # bytes of one system call
_SYNC_EVERY = 1 << 26  # bytes


class SealedFile:
    """A new file, written from its first byte to its last; a stream for `torch.save`.

    Large pieces are hashed, and what is written is synced, in threads beside this one: hashlib and the kernel let go
    of Python's lock. Once it is closed without an error, every byte is on the disk. Raises `DiskError`, with the bytes
    that were `needed`, or `OSError`; once more when it is closed, whatever its user made of it.
    """

    def __init__(self, path: Path, needed: int = 0) -> None:
        self._path = path
        self._needed = needed
        self._failure: OSError | None = None
        with disk.writing(path, needed):
            self._stream = open(path, "wb", opener=files.no_link)  # closed by __exit__
        self._sha256 = hashlib.sha256()
        self._size = self._synced = 0
        self._threads: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None and self._failure is None:
                self._keeping_failure(self._sync)
        finally:
            if self._threads:
                self._threads.shutdown()
            with suppress(OSError):  # a second one says nothing more
                self._stream.close()
        if self._failure:
            raise self._failure from None

    def write(self, data: bytes | memoryview) -> int:
        """Writes and hashes all bytes of `data`; returns their number."""
        view = memoryview(data).cast("B")
        if len(view) < _LARGE:
            self._sha256.update(view)
            self._keeping_failure(lambda: self._write(view))
        else:
            self._threads = self._threads or ThreadPoolExecutor(2)
            hashing = self._threads.submit(self._sha256.update, view)
            try:
                self._keeping_failure(lambda: self._write(view))
            finally:
                hashing.result()  # afterwards the memory is the caller's again
        return len(view)

    def flush(self) -> None:
        """Part of a stream's face: what is not written yet is written at the end."""

    @property
    def checksum(self) -> Checksum:
        """[bytes, SHA-256] of what was written."""
        return [self._size, self._sha256.hexdigest()]

    def _keeping_failure(self, act: Any) -> None:
        try:
            with disk.writing(self._path, self._needed):
                act()
        except OSError as error:
            self._failure = error
            raise

    def _write(self, view: memoryview) -> None:
        for start in range(0, len(view), _PIECE):
            self._stream.write(view[start : start + _PIECE])
            self._size += len(view[start : start + _PIECE])
            if threading.current_thread() is threading.main_thread():  # else training has to get on by itself
                pulse.tick()
            if self._size - self._synced >= _SYNC_EVERY:
                self._sync_beside()

    def _sync_beside(self) -> None:
        """Begins to sync what is written, unless an earlier sync goes on."""
        if self._syncing and not self._syncing.done():
            return
        self._expect_synced()
        self._threads = self._threads or ThreadPoolExecutor(2)
        self._syncing = self._threads.submit(os.fsync, self._stream.fileno())
        self._synced = self._size

    def _sync(self) -> None:
        self._expect_synced()
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _expect_synced(self) -> None:
        """Waits for the sync that goes on; the kernel says that it failed to one call alone."""
        if self._syncing:
            self._syncing.result()


@dataclass(frozen=True)
class SmallFile:
    """A file whose content is in memory, not written yet."""

    content: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)

    def write(self, stream: Any) -> None:
        """Writes it into a stream of bytes."""
        stream.write(self.content)
