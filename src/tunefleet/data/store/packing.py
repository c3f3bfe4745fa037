"""Packing: which conversations share a sequence, by best-fit decreasing (Johnson, 1973), deterministic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 1 << 18
"""Items that are packed together: memory is bounded, and of 20 million tokens at most a last sequence is not filled."""


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Groups items of the given lengths (tokens) into sequences of at most `capacity`; returns item numbers.

    Longest first, each into the fullest sequence that still has room. Sequences wait by their room; the set of
    rooms is one integer with a bit for each, so the best fit is its lowest bit at or above the length.
    Raises `ValueError` for an item longer than `capacity`.
    """
    if len(lengths) and max(lengths) > capacity:
        raise ValueError(f"an item of {max(lengths)} tokens is longer than the capacity of {capacity}")
    sequences: list[list[int]] = []
    with_room: defaultdict[int, list[int]] = defaultdict(list)
    rooms = 0
    for item in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        length = lengths[item]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            sequence = with_room[room].pop()
            rooms ^= (not with_room[room]) << room
        else:
            room, sequence = capacity, len(sequences)
            sequences.append([])
        sequences[sequence].append(item)
        with_room[room - length].append(sequence)
        rooms |= 1 << (room - length)
    return sequences


def packed(
    items: Iterable[NDArray[Any]], capacity: int, window: int = WINDOW
) -> Iterator[tuple[NDArray[Any], list[int]]]:
    """Packs a stream of items (`length`, `number`): the numbers, sequence after sequence, and how many each has."""
    for part in _windows(items, window):
        sequences = pack(part["length"].tolist(), capacity)
        order = np.fromiter(chain.from_iterable(sequences), dtype=np.int64, count=len(part))
        yield part["number"][order], [len(sequence) for sequence in sequences]


def _windows(items: Iterable[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """The same items, `size` of them at a time."""
    waiting: list[NDArray[Any]] = []
    count = 0
    for part in items:
        waiting.append(part)
        count += len(part)
        while count >= size:
            joined = np.concatenate(waiting)
            yield joined[:size]
            waiting, count = [joined[size:]], count - size
    if count:
        yield np.concatenate(waiting)
