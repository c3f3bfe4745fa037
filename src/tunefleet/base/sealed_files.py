"""Sealed files: hashed while they are written, and on the disk when their checksum is given."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tunefleet.base import disk, files, pulse
from tunefleet.base.checksums import Checksum

_LARGE = 1 << 20  # bytes; smaller pieces are hashed together
_PIECE = 1 << 24  # bytes of one system call
_WRITE_BACK = 1 << 25  # bytes that the disk begins with at once
_HASHING = 2  # files at once


class Sealing:
    """Threads that hash and sync files beside the one that writes them, and then writes the next one.

    hashlib and the kernel let go of Python's lock.
    """

    def __init__(self) -> None:
        self._hashing = [ThreadPoolExecutor(1, "hashing") for _ in range(_HASHING)]
        self._syncing = ThreadPoolExecutor(1, "syncing")
        self._files = 0

    def __enter__(self) -> Sealing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for thread in (*self._hashing, self._syncing):
            thread.shutdown()

    def file(self, path: Path, needed: int = 0) -> SealedFile:
        """A new file at `path`, which is said to need so many bytes where there is no room. Raises as `SealedFile`."""
        self._files += 1
        return SealedFile(path, needed, self._hashing[self._files % _HASHING], self._syncing)


class SealedFile:
    """A new file, written from its first byte to its last; a stream for `torch.save`.

    Raises `DiskError`, with the bytes that were `needed`, or `OSError`; once more when it is closed, whatever its user
    made of it.
    """

    def __init__(self, path: Path, needed: int, hashing: Executor, syncing: Executor) -> None:
        self._path = path
        self._needed = needed
        self._hashing_thread = hashing
        self._syncing_thread = syncing
        self._failure: OSError | None = None
        with disk.writing(path, needed):
            self._stream = open(path, "wb", opener=files.no_link)  # closed by __exit__
        self._sha256 = hashlib.sha256()
        self._small = bytearray()  # pieces that are not hashed yet
        self._size = self._written_back = 0
        self._hashing: Future[None] | None = None
        self._syncing: Future[None] | None = None

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._hash_small()
        complete = kind is None and self._failure is None
        self._syncing = self._syncing_thread.submit(self._sync_and_close if complete else self._close)
        if self._failure:
            raise self._failure from None

    def write(self, data: bytes | memoryview) -> int:
        """Writes all bytes of `data`, whose memory is the caller's again afterwards; returns their number."""
        try:
            return self.write_kept(data)
        finally:
            if self._hashing and memoryview(data).nbytes >= _LARGE:
                self._hashing.result()

    def write_kept(self, data: bytes | memoryview) -> int:
        """The same for memory that stays as it is until the checksum is given: hashing may be far behind."""
        view = memoryview(data).cast("B")
        if len(view) < _LARGE:
            self._small += view
        if len(view) >= _LARGE or len(self._small) >= _LARGE:
            self._hash_small()
        if len(view) >= _LARGE:
            self._hash(view)
        self._keeping_failure(lambda: self._write(view))
        return len(view)

    def flush(self) -> None:
        """Part of a stream's face: what is not written yet is written at the end."""

    def checksum(self) -> Checksum:
        """[bytes, SHA-256] of a file that is closed, when every byte is on the disk. Raises `DiskError`, `OSError`."""
        for work in (self._syncing, self._hashing):
            if work:
                work.result()
        return [self._size, self._sha256.hexdigest()]

    def _keeping_failure(self, act: Callable[[], None]) -> None:
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
            if self._size - self._written_back >= _WRITE_BACK and hasattr(os, "posix_fadvise"):
                self._write_back()

    def _hash(self, piece: bytearray | memoryview) -> None:
        self._hashing = self._hashing_thread.submit(self._sha256.update, piece)

    def _hash_small(self) -> None:
        if self._small:
            self._hash(self._small)
            self._small = bytearray()

    def _write_back(self) -> None:
        """Lets the kernel begin with the bytes that are new, and waits for nothing; its copy of them need not stay."""
        begin, self._written_back = self._written_back, self._size
        with suppress(OSError):  # it is an advice
            os.posix_fadvise(self._stream.fileno(), begin, self._size - begin, os.POSIX_FADV_DONTNEED)

    def _sync_and_close(self) -> None:
        try:
            with disk.writing(self._path, self._needed):
                self._stream.flush()
                os.fsync(self._stream.fileno())
        finally:
            self._close()

    def _close(self) -> None:
        with suppress(OSError):  # a second one says nothing more
            self._stream.close()


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
