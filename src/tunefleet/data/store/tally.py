"""What is in a data set, counted: from the lines of its store, each as often as it is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.store.writer import Lines, Stored

_COUNTS = ("rows", "kept", "tokens", "learning", "truncated", "too_long", "split", "stops")


@dataclass(frozen=True)
class Tally:
    """Sums by the number of the file that a conversation was read from, all of shape [files].

    `rows` are conversations and parts of split ones, kept or not; tokens and learning tokens are of kept ones.
    """

    rows: NDArray[np.int64]
    kept: NDArray[np.int64]
    tokens: NDArray[np.int64]
    learning: NDArray[np.int64]
    truncated: NDArray[np.int64]
    too_long: NDArray[np.int64]
    split: NDArray[np.int64]
    stops: NDArray[np.int64]
    longest: int

    @property
    def dropped(self) -> int:
        """Rows that fit, or were made to fit, and have nothing to learn."""
        return int(self.rows.sum() - self.kept.sum() - self.too_long.sum())


def tally(stored: Stored, files: int) -> Tally:
    """Counts what is taken of a store."""
    sums = {name: np.zeros(files, dtype=np.int64) for name in _COUNTS}
    longest = 0
    for lines in stored.blocks():
        times = stored.taken(lines)
        kept = lines["number"] >= 0
        for name, values in _values(lines, kept).items():
            np.add.at(sums[name], lines["file"], values * times)
        longest = max(longest, int(lines["length"][kept & (times > 0)].max(initial=0)))
    return Tally(**sums, longest=longest)


def _values(lines: Lines, kept: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    flags = {name: lines[name].astype(np.int64) for name in ("truncated", "too_long", "split", "stops")}
    tokens = np.where(kept, lines["length"], 0).astype(np.int64)
    learning = lines["learning"].astype(np.int64)
    return {
        "rows": np.ones(len(lines), np.int64),
        "kept": kept.astype(np.int64),
        "tokens": tokens,
        "learning": learning,
    } | flags
