"""Snapshot: a copy of a part's files in memory, byte for byte what would be written, while the engine goes on."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tunefleet.contracts import ByteStream, CheckpointFile

_CHUNK = 1 << 26  # bytes


class SnapshotMemory:
    """Memory of this process that one snapshot after another is copied into; it stays, so its pages are there."""

    def __init__(self) -> None:
        self._chunks: list[mmap.mmap] = []
        self._end = 0

    def copied(self, part: Mapping[str, CheckpointFile]) -> dict[str, Snapshot]:
        """The files of `part` as they are now. The snapshot before is overwritten."""
        self._end = 0
        return {name: self._copy(file) for name, file in part.items()}

    def _copy(self, file: CheckpointFile) -> Snapshot:
        start = self._end
        file.write(_Stream(self))
        return Snapshot(self, start, self._end)

    def append(self, view: memoryview) -> None:
        """Copies bytes behind those that are there."""
        done = 0
        while done < len(view):
            number, offset = divmod(self._end, _CHUNK)
            if number == len(self._chunks):
                self._chunks.append(_chunk())
            piece = view[done : done + _CHUNK - offset]
            memoryview(self._chunks[number])[offset : offset + len(piece)] = piece
            done += len(piece)
            self._end += len(piece)

    def pieces(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes from `start` to `end`."""
        while start < end:
            number, offset = divmod(start, _CHUNK)
            piece = memoryview(self._chunks[number])[offset : offset + min(end - start, _CHUNK - offset)]
            start += len(piece)
            yield piece


@dataclass(frozen=True)
class Snapshot:
    """One file, in `memory` from byte `start` to byte `end`."""

    memory: SnapshotMemory
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def write(self, stream: ByteStream) -> None:
        """Writes all of it."""
        for piece in self.memory.pieces(self.start, self.end):
            stream.write(piece)


class _Stream:
    """Takes the bytes of one file."""

    def __init__(self, memory: SnapshotMemory) -> None:
        self._memory = memory

    def write(self, data: bytes | memoryview) -> int:
        """Their number."""
        view = memoryview(data).cast("B")
        self._memory.append(view)
        return len(view)

    def write_kept(self, data: bytes | memoryview) -> int:
        """The same: it is copied at once."""
        return self.write(data)

    def flush(self) -> None:
        """They are there."""


def _chunk() -> mmap.mmap:
    """In large pages where the kernel has them: the first copy waits for every page."""
    chunk = mmap.mmap(-1, _CHUNK)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        chunk.madvise(mmap.MADV_HUGEPAGE)
    return chunk
