"""Held-out rows for validation: drawn while rows stream by, the same whatever the run's seed."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from tunefleet.config.data import DataConfig

T = TypeVar("T")
_SHARE = 10  # at most one row in so many is held out


class HeldOut(Generic[T]):
    """Keeps `most` rows, or a tenth where that is less; only they are in memory.

    Every row has a random key, and those with the least keys are held out (bottom-k sampling): a uniform draw in
    one pass, without knowing how many rows there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys = random.Random(0)
        self._waiting: list[tuple[float, int, T]] = []
        self._count = 0
        self.rows: list[T] = []

    def training(self, rows: Iterable[T]) -> Iterator[T]:
        """The rows to train on, about in their order; afterwards `rows` are the others."""
        for row in rows:
            self._count += 1
            entry = (-self._keys.random(), self._count, row)  # the largest key first
            if len(self._waiting) < self._most:
                heapq.heappush(self._waiting, entry)
            else:
                yield heapq.heappushpop(self._waiting, entry)[2]
        yield from self._finish()

    def _finish(self) -> list[T]:
        """What waited and is not held out after all."""
        by_key = sorted(self._waiting, key=lambda entry: (-entry[0], entry[1]))
        count = min(self._most, self._count // _SHARE)
        self._waiting = []
        self.rows = _in_order(by_key[:count])
        return _in_order(by_key[count:])


class HeldOutShare(Generic[T]):
    """Keeps a share of the rows: one drawn from each stretch of 1 / share rows (stratified sampling).

    The number is the share of all rows up to one, in one pass, without knowing how many rows there are.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._draws = random.Random(0)
        self.rows: list[T] = []

    def training(self, rows: Iterable[T]) -> Iterator[T]:
        """The rows to train on, in their order; afterwards `rows` are the others."""
        stretch, held_out_number = 0, self._held_out_number(0, -1)
        for number, row in enumerate(rows):
            if number != held_out_number:
                yield row
                continue
            self.rows.append(row)
            stretch += 1
            held_out_number = self._held_out_number(stretch, held_out_number)

    def _held_out_number(self, stretch: int, last: int) -> int:
        """The number of the row that is held out of a stretch, behind the `last` one."""
        return max(last + 1, math.floor((stretch + self._draws.random()) / self._share))


def held_out(config: DataConfig) -> HeldOut[Any] | HeldOutShare[Any]:
    """Draws the validation rows of one source."""
    return HeldOutShare(config.validation_share) if config.validation_share else HeldOut(config.validation_rows)


def _in_order(entries: Iterable[tuple[float, int, T]]) -> list[T]:
    return [row for _, _, row in sorted(entries, key=lambda entry: entry[1])]
