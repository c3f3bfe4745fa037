"""Tally of a data set: counts from the lines of its store, each as often as it is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.store.disk_format import Lines
from tunefleet.data.store.writer import StoredLines

_COUNTS = ("parts", "with_targets", "tokens", "loss_tokens", "truncated", "too_long", "split", "stops")


@dataclass(frozen=True)
class Tally:
    """Sums by the number of the file that a conversation was read from, all of shape [files].

    `parts` are conversations and parts of split ones, kept or not; tokens and loss tokens are of those with targets.
    """

    parts: NDArray[np.int64]
    with_targets: NDArray[np.int64]
    tokens: NDArray[np.int64]
    loss_tokens: NDArray[np.int64]
    truncated: NDArray[np.int64]
    too_long: NDArray[np.int64]
    split: NDArray[np.int64]
    stops: NDArray[np.int64]
    longest: int

    @property
    def dropped(self) -> int:
        """Conversations that fit, or were made to fit, and have no loss tokens."""
        return int(self.parts.sum() - self.with_targets.sum() - self.too_long.sum())


def tally(stored: StoredLines, files: int) -> Tally:
    """Counts what is taken of a store."""
    sums = {name: np.zeros(files, dtype=np.int64) for name in _COUNTS}
    longest = 0
    for lines in stored.blocks():
        repeats = stored.repeats(lines)
        with_targets = lines["number"] >= 0
        for name, values in _values(lines, with_targets).items():
            np.add.at(sums[name], lines["file"], values * repeats)
        longest = max(longest, int(lines["length"][with_targets & (repeats > 0)].max(initial=0)))
    return Tally(**sums, longest=longest)


def _values(lines: Lines, with_targets: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    counted = ("loss_tokens", "truncated", "too_long", "split", "stops")
    return {
        "parts": np.ones(len(lines), np.int64),
        "with_targets": with_targets.astype(np.int64),
        "tokens": np.where(with_targets, lines["length"], 0).astype(np.int64),
        **{name: lines[name].astype(np.int64) for name in counted},
    }
