"""Grouping by length: sequences of similar length come together, so that little of a micro-batch is padding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import Grouping
from tunefleet.data.store.dataset import Dataset

Numbers = NDArray[np.int64]
"""Of sequences, or their lengths."""

_WINDOW = 50  # steps whose sequences are sorted together; `LengthGroupedSampler` of transformers takes as many
_WINDOWS = 4  # of an epoch at least, or each epoch would put the same neighbours together


def sequence_lengths(data: Dataset) -> Numbers:
    """The tokens of each sequence, padding aside; of shape [sequences]."""
    sizes = np.diff(data.starts)[data.packs]
    return np.diff(np.concatenate([[0], np.cumsum(sizes)])[data.bounds])


def arranged(
    drawn: Numbers,
    lengths: Numbers,
    step: int,
    offset: int,
    grouping: Grouping,
    random: np.random.Generator,
    first: bool,
) -> Numbers:
    """The sequences of an epoch in the order in which they are taken, `step` at once.

    `drawn` is a permutation of them; its first `offset` rows complete the last step of the epoch before.
    In the `first` epoch the longest sequences come at once: see `longest_first`.
    """
    if grouping is Grouping.WINDOW:
        return _in_windows(drawn, lengths, step, offset, random, first)
    return longest_first(drawn, lengths, step) if first else drawn


def longest_first(drawn: Numbers, lengths: Numbers, step: int) -> Numbers:
    """`drawn`, with the longest sequence in the first step and the next longest in the second.

    What does not fit into memory fails at once, also where the optimizer makes its states after the first step.
    """
    moved = drawn.copy()
    for index, number in zip(range(0, len(drawn), step), by_length(drawn, lengths)[:2].tolist(), strict=False):
        if lengths[number] > lengths[moved[index]]:
            drawn_index = np.flatnonzero(moved == number)[0]
            moved[[index, drawn_index]] = moved[[drawn_index, index]]
    return moved


def by_length(numbers: Numbers, lengths: Numbers) -> Numbers:
    """`numbers`, the longest sequence first; those of one length stay in their order."""
    return numbers[np.argsort(-lengths[numbers], kind="stable")]


def _in_windows(
    drawn: Numbers, lengths: Numbers, step: int, offset: int, random: np.random.Generator, first: bool
) -> Numbers:
    """Steps of sequences of similar length: sorted within windows of some steps, then the steps are shuffled.

    The method of `group_by_length` in transformers, which leaves the steps of a window in the order of their
    lengths. The sequences of the two steps that an epoch shares with its neighbours stay as they were drawn.
    """
    full_steps = (len(drawn) - offset) // step
    if full_steps < 1:
        return drawn
    body, tail = drawn[offset : offset + full_steps * step], drawn[offset + full_steps * step :]
    size = max(1, min(_WINDOW, full_steps // _WINDOWS)) * step
    by_window = np.concatenate([by_length(body[i : i + size], lengths) for i in range(0, len(body), size)])
    steps = random.permutation(by_window.reshape(full_steps, step))
    if first:
        longest = np.argsort(-lengths[steps].max(axis=1), kind="stable")[:2]
        steps = np.concatenate([steps[longest], np.delete(steps, longest, axis=0)])
    return np.concatenate([drawn[:offset], steps.reshape(-1), tail])
