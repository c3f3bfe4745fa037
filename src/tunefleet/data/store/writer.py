"""Store writer: appends encoded conversations to a data set, with a line for each part.

Sequences of a data set are chosen and packed from these lines alone, whether a conversation is taken once, often or
never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.stream import EncodedConversation
from tunefleet.data.store import disk_format
from tunefleet.data.store.disk_format import LINE, Lines
from tunefleet.data.store.places import PlaceWriter

PARTS_AT_ONCE = 256
"""Parts of conversations whose arrays are written at once."""
BLOCK = 1 << 18
"""Lines in memory."""


@dataclass(frozen=True)
class SourceSpan:
    """The conversations and lines of one source: the first, and how many."""

    first_conversation: int
    conversations: int
    first_line: int
    lines: int


@dataclass(frozen=True)
class StoredLines:
    """The lines of a store, on the disk, and how often each conversation is taken; null is once."""

    path: Path
    spans: Sequence[SourceSpan]
    times: NDArray[np.uint32] | None = None

    def blocks(self, span: SourceSpan | None = None) -> Iterator[Lines]:
        """The lines of one source, or all of them, a few at a time."""
        total = sum(source.lines for source in self.spans)
        first, end = (span.first_line, span.first_line + span.lines) if span else (0, total)
        for start in range(first, end, BLOCK):
            yield disk_format.read_lines(self.path, start, min(end, start + BLOCK))

    def repeats(self, lines: Lines) -> NDArray[np.int64]:
        """How often each of `lines` is taken."""
        if self.times is None:
            return np.ones(len(lines), np.int64)
        repeats: NDArray[np.int64] = self.times[lines["conversation"]].astype(np.int64)
        return repeats

    def passes(self) -> Iterator[Lines]:
        """Kept lines as they are taken, source after source: all of it once, then what is taken twice, and so on.

        So the second time is far from the first.
        """
        for span in self.spans:
            for number in range(self._most_repeats(span)):
                for lines in self.blocks(span):
                    yield lines[(lines["number"] >= 0) & (self.repeats(lines) > number)]

    def _most_repeats(self, span: SourceSpan) -> int:
        if self.times is None:
            return 1
        first = span.first_conversation
        return int(self.times[first : first + span.conversations].max(initial=0))


class StoreWriter:
    """Writes `tokens`, `loss_mask` and `starts` of a data set into its folder, and the lines beside it."""

    def __init__(self, folder: Path, stops: Sequence[int]) -> None:
        folder.mkdir(parents=True)
        self._lines_path = disk_format.lines_path(folder)
        self._stops = np.asarray(stops)
        self._tokens = disk_format.array_writer(folder, disk_format.TOKENS)
        self._loss_mask = disk_format.array_writer(folder, disk_format.LOSS_MASK)
        self._starts = disk_format.array_writer(folder, disk_format.STARTS)
        self._lines = disk_format.line_writer(folder)
        self._places = PlaceWriter(folder)
        self._starts.append([0])
        self._waiting: list[tuple[int, str, Encoded]] = []
        self._files: list[int] = []
        self._end = 0
        self._parts_written = 0
        self._conversation = 0
        self._line = 0
        self._beginnings: list[tuple[int, int]] = []

    def begin(self) -> None:
        """What follows is of another source."""
        self._beginnings.append((self._conversation, self._line))

    def add(self, conversation: EncodedConversation, file: int) -> None:
        """Takes a conversation that was read from file number `file`."""
        location = conversation.conversation.location
        self._waiting += [(self._conversation, location, part) for part in conversation.parts]
        self._files += [file] * len(conversation.parts)
        self._conversation += 1
        self._line += len(conversation.parts)
        if len(self._waiting) >= PARTS_AT_ONCE:
            self._write()

    def finish(self) -> StoredLines:
        """Everything is on the disk."""
        self._write()
        for array in (self._tokens, self._loss_mask, self._starts, self._lines):
            array.finish()
        self._places.finish()
        bounds = pairwise([*self._beginnings, (self._conversation, self._line)])
        spans = [SourceSpan(first, end - first, line, end_line - line) for (first, line), (end, end_line) in bounds]
        return StoredLines(self._lines_path, spans)

    def _write(self) -> None:
        lines = self._described([part for *_, part in self._waiting])
        lines["conversation"] = [number for number, *_ in self._waiting]
        lines["file"] = self._files
        has_targets = lines["loss_tokens"] > 0
        lines["number"] = np.where(has_targets, self._parts_written + np.cumsum(has_targets) - 1, -1)
        stored = [item for item, has in zip(self._waiting, has_targets.tolist(), strict=True) if has]
        self._places.append([location for _, location, _ in stored])
        parts = [part for *_, part in stored]
        if parts:
            self._tokens.append(np.concatenate([part.tokens for part in parts]))
            self._loss_mask.append(np.concatenate([part.loss_mask for part in parts]))
            ends = self._end + np.cumsum(lines["length"][has_targets], dtype=np.int64)
            self._starts.append(ends)
            self._end = int(ends[-1])
        self._lines.append(lines)
        self._parts_written += len(parts)
        self._waiting, self._files = [], []

    def _described(self, parts: Sequence[Encoded]) -> Lines:
        lines = np.zeros(len(parts), dtype=LINE)
        lines["length"] = [len(part.tokens) for part in parts]
        for flag in ("truncated", "split", "too_long"):
            lines[flag] = [getattr(part, flag) for part in parts]
        filled = np.flatnonzero(lines["length"])
        if len(filled):
            firsts = np.cumsum([0, *lines["length"][filled][:-1]])
            loss_mask = np.concatenate([part.loss_mask for part in parts])
            stops = loss_mask & np.isin(np.concatenate([part.tokens for part in parts]), self._stops)
            lines["loss_tokens"][filled] = np.add.reduceat(loss_mask, firsts, dtype=np.int64)
            lines["stops"][filled] = np.logical_or.reduceat(stops, firsts)
        return lines
