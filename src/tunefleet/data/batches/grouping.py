"""Which rows come together: rows of similar length, so that little of a micro-batch is padding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import Grouping
from tunefleet.data.store.dataset import Dataset

Rows = NDArray[np.int64]

_WINDOW = 50  # steps whose rows are sorted together; `LengthGroupedSampler` of transformers takes as many
_WINDOWS = 4  # of an epoch at least, or each epoch would put the same neighbours together


def row_lengths(data: Dataset) -> Rows:
    """The tokens of each row, padding aside; of shape [rows]."""
    sizes = np.diff(data.starts)[data.packs]
    return np.diff(np.concatenate([[0], np.cumsum(sizes)])[data.bounds])


def arranged(
    drawn: Rows, lengths: Rows, step: int, offset: int, grouping: Grouping, random: np.random.Generator, first: bool
) -> Rows:
    """The rows of an epoch in the order in which they are taken, `step` at once.

    `drawn` is a permutation of them; its first `offset` rows complete the last step of the epoch before.
    In the `first` epoch the longest rows come at once: see `longest_first`.
    """
    if grouping is Grouping.WINDOW:
        return _in_windows(drawn, lengths, step, offset, random, first)
    return longest_first(drawn, lengths, step) if first else drawn


def longest_first(drawn: Rows, lengths: Rows, step: int) -> Rows:
    """`drawn`, with the longest row in the first step and the next longest in the second.

    What does not fit into memory fails at once, also where the optimizer makes its states after the first step.
    """
    moved = drawn.copy()
    for place, row in zip(range(0, len(drawn), step), by_length(drawn, lengths)[:2].tolist(), strict=False):
        if lengths[row] > lengths[moved[place]]:
            there = np.flatnonzero(moved == row)[0]
            moved[[place, there]] = moved[[there, place]]
    return moved


def by_length(rows: Rows, lengths: Rows) -> Rows:
    """`rows`, the longest first; rows of one length stay in their order."""
    return rows[np.argsort(-lengths[rows], kind="stable")]


def _in_windows(drawn: Rows, lengths: Rows, step: int, offset: int, random: np.random.Generator, first: bool) -> Rows:
    """Steps of rows of similar length: sorted within windows of some steps, then the steps are shuffled.

    The method of `group_by_length` in transformers, which leaves the steps of a window in the order of their
    lengths. The rows of the two steps that an epoch shares with its neighbours stay as they were drawn.
    """
    whole = (len(drawn) - offset) // step
    if whole < 1:
        return drawn
    body, rest = drawn[offset : offset + whole * step], drawn[offset + whole * step :]
    size = max(1, min(_WINDOW, whole // _WINDOWS)) * step
    sorted_rows = np.concatenate([by_length(body[i : i + size], lengths) for i in range(0, len(body), size)])
    steps = random.permutation(sorted_rows.reshape(whole, step))
    if first:
        longest = np.argsort(-lengths[steps].max(axis=1), kind="stable")[:2]
        steps = np.concatenate([steps[longest], np.delete(steps, longest, axis=0)])
    return np.concatenate([drawn[:offset], steps.reshape(-1), rest])
