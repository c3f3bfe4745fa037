"""Which conversations share a row: best-fit decreasing (Johnson, 1973), deterministic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Groups items of the given lengths (tokens) into rows of at most `capacity`; returns item numbers.

    Longest first, each into the fullest row that still has room. Rows wait by their room; the set of
    rooms is one integer with a bit for each, so the best fit is its lowest bit at or above the length.
    Raises `ValueError` for an item longer than `capacity`.
    """
    if lengths and max(lengths) > capacity:
        raise ValueError(f"an item of {max(lengths)} tokens is longer than the capacity of {capacity}")
    rows: list[list[int]] = []
    with_room: defaultdict[int, list[int]] = defaultdict(list)
    rooms = 0
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
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
