"""Where encoded conversations are written: tokens one behind the other, and a line for each of them that says enough.

Rows of a data set are chosen and packed from these lines alone, whether a conversation is taken once, often or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.stream import Talk
from tunefleet.data.store import npy_writer
from tunefleet.data.store.npy_writer import Growing

LINE = np.dtype(
    [
        ("talk", "<i8"),  # which conversation it is, or is a part of
        ("number", "<i8"),  # where its tokens are, counted in kept parts; -1 where nothing is learnt, and none are kept
        ("length", "<i4"),
        ("learning", "<i4"),
        ("file", "<i4"),
        ("stops", "?"),
        ("truncated", "?"),
        ("split", "?"),
        ("too_long", "?"),
    ]
)
"""A part of a conversation."""
_TOGETHER = 256  # conversations whose arrays are written at once
_BLOCK = 1 << 18  # lines in memory

Lines = NDArray[np.void]


@dataclass(frozen=True)
class Part:
    """The conversations and lines of one source: the first, and how many."""

    talk: int
    talks: int
    line: int
    lines: int


@dataclass(frozen=True)
class Stored:
    """The lines of a store, on the disk, and how often each conversation is taken; null is once."""

    path: Path
    parts: Sequence[Part]
    times: NDArray[np.uint32] | None = None

    def blocks(self, part: Part | None = None) -> Iterator[Lines]:
        """The lines of one part, or all of them, a few at a time: read, since pages of a mapped file would stay."""
        first, end = (part.line, part.line + part.lines) if part else (0, sum(one.lines for one in self.parts))
        for start in range(first, end, _BLOCK):
            yield npy_writer.part(self.path, start, min(end, start + _BLOCK))

    def taken(self, lines: Lines) -> NDArray[np.int64]:
        """How often each of `lines` is taken."""
        return np.ones(len(lines), np.int64) if self.times is None else self.times[lines["talk"]].astype(np.int64)

    def passes(self) -> Iterator[Lines]:
        """Kept lines as they are taken, part after part: all of it once, then what is taken twice, and so on.

        So the second time is far from the first.
        """
        for part in self.parts:
            times = self.times[part.talk : part.talk + part.talks] if self.times is not None else np.ones(1, np.uint32)
            for before in range(int(times.max(initial=0))):
                for lines in self.blocks(part):
                    yield lines[(lines["number"] >= 0) & (self.taken(lines) > before)]


class Store:
    """Writes `tokens`, `learns` and `starts` of a data set into its folder, and the lines beside it."""

    def __init__(self, folder: Path, stops: Sequence[int]) -> None:
        folder.mkdir(parents=True)
        self._lines_path = folder.with_name(f"{folder.name}.lines.npy")
        self._stops = np.asarray(stops)
        self._tokens = Growing(folder / "tokens.npy", np.int32)
        self._learns = Growing(folder / "learns.npy", np.bool_)
        self._starts = Growing(folder / "starts.npy", np.int64)
        self._lines = Growing(self._lines_path, LINE)
        self._starts.append([0])
        self._waiting: list[tuple[int, Encoded]] = []
        self._files: list[int] = []
        self._end = 0
        self._kept = 0
        self._talk = 0
        self._line = 0
        self._parts: list[Part] = []

    def begin(self) -> None:
        """What follows is of another source."""
        self._parts.append(Part(self._talk, 0, self._line, 0))

    def add(self, talk: Talk, file: int) -> None:
        """Takes a conversation that was read from file number `file`."""
        self._waiting += [(self._talk, part) for part in talk.parts]
        self._files += [file] * len(talk.parts)
        self._talk += 1
        self._line += len(talk.parts)
        of = self._parts[-1]
        self._parts[-1] = replace(of, talks=self._talk - of.talk, lines=self._line - of.line)
        if len(self._waiting) >= _TOGETHER:
            self._write()

    def finish(self) -> Stored:
        """Everything is on the disk."""
        self._write()
        for array in (self._tokens, self._learns, self._starts, self._lines):
            array.finish()
        return Stored(self._lines_path, self._parts)

    def _write(self) -> None:
        lines = self._described([part for _, part in self._waiting])
        lines["talk"] = [talk for talk, _ in self._waiting]
        lines["file"] = self._files
        kept = lines["learning"] > 0
        lines["number"] = np.where(kept, self._kept + np.cumsum(kept) - 1, -1)
        parts = [part for (_, part), keeps in zip(self._waiting, kept.tolist(), strict=True) if keeps]
        if parts:
            self._tokens.append(np.concatenate([part.tokens for part in parts]))
            self._learns.append(np.concatenate([part.learns for part in parts]))
            ends = self._end + np.cumsum(lines["length"][kept], dtype=np.int64)
            self._starts.append(ends)
            self._end = int(ends[-1])
        self._lines.append(lines)
        self._kept += len(parts)
        self._waiting, self._files = [], []

    def _described(self, parts: Sequence[Encoded]) -> Lines:
        lines = np.zeros(len(parts), dtype=LINE)
        lines["length"] = [len(part.tokens) for part in parts]
        for flag in ("truncated", "split", "too_long"):
            lines[flag] = [getattr(part, flag) for part in parts]
        filled = np.flatnonzero(lines["length"])
        if len(filled):
            firsts = np.cumsum([0, *lines["length"][filled][:-1]])
            learns = np.concatenate([part.learns for part in parts])
            learns[firsts] = False  # predicted from nothing
            stops = learns & np.isin(np.concatenate([part.tokens for part in parts]), self._stops)
            lines["learning"][filled] = np.add.reduceat(learns, firsts, dtype=np.int64)
            lines["stops"][filled] = np.logical_or.reduceat(stops, firsts)
        return lines
