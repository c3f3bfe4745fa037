"""Which conversations share a row: best-fit decreasing (Johnson, 1973), deterministic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 1 << 18
"""Items that are packed together: memory is bounded, and of 20 million tokens at most a last row is not filled."""


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Groups items of the given lengths (tokens) into rows of at most `capacity`; returns item numbers.

    Longest first, each into the fullest row that still has room. Rows wait by their room; the set of
    rooms is one integer with a bit for each, so the best fit is its lowest bit at or above the length.
    Raises `ValueError` for an item longer than `capacity`.
    """
    if len(lengths) and max(lengths) > capacity:
        raise ValueError(f"an item of {max(lengths)} tokens is longer than the capacity of {capacity}")
    rows: list[list[int]] = []
    with_room: defaultdict[int, list[int]] = defaultdict(list)
    rooms = 0
    for item in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        length = lengths[item]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            rooms ^= (not with_room[room]) << room
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(item)
        with_room[room - length].append(row)
        rooms |= 1 << (room - length)
    return rows


def packed(
    items: Iterable[NDArray[Any]], capacity: int, window: int = WINDOW
) -> Iterator[tuple[NDArray[Any], list[int]]]:
    """Packs a stream of items (`length`, `number`): the numbers, row after row, and how many stand in each row."""
    for part in _windows(items, window):
        rows = pack(part["length"].tolist(), capacity)
        order = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=len(part))
        yield part["number"][order], [len(row) for row in rows]


def _windows(items: Iterable[NDArray[Any]], size: int) -> Iterator[NDArray[Any]]:
    """The same items, `size` of them at a time."""
    waiting: list[NDArray[Any]] = []
    count = 0
    for part in items:
        waiting.append(part)
        count += len(part)
        while count >= size:
            together = np.concatenate(waiting)
            yield together[:size]
            waiting, count = [together[size:]], count - size
    if count:
        yield np.concatenate(waiting)
