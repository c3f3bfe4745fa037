"""Which rows come when: a pure function of seed and position, and each rank's share of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.collate import collate
from tunefleet.data.dataset import Dataset
from tunefleet.plan.batch import Batch
from tunefleet.plan.contracts import MicroBatch


class Order:
    """All epochs one after another, each a permutation of `rows` rows drawn from (seed, epoch)."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._seed = seed
        self._drawn: tuple[int, NDArray[np.int64]] | None = None

    def rows(self, start: int, count: int) -> list[int]:
        """Row numbers at positions start ... start + count - 1."""
        return [int(self._epoch(i // self._rows)[i % self._rows]) for i in range(start, start + count)]

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._drawn is None or self._drawn[0] != epoch:
            drawn = np.random.default_rng([self._seed, epoch]).permutation(self._rows)
            self._drawn = (epoch, drawn)
        return self._drawn[1]


class OrderedBatches:
    """The micro-batches of one data-parallel rank; `position` counts the rows that all ranks have taken.

    One step takes the next `batch.total` rows; micro-batch m of rank r is the slice
    (m x data_parallel + r) x micro of them, so every split of the same global batch reads the same rows.
    """

    def __init__(
        self, data: Dataset, batch: Batch, data_rank: int, *, seed: int, pad: int, packed: bool, position: int = 0
    ) -> None:
        self._data = data
        self._batch = batch
        self._data_rank = data_rank
        self._pad = pad
        self._packed = packed
        self._order = Order(len(data), seed)
        self._position = position

    @property
    def position(self) -> int:
        """Rows taken so far by all ranks."""
        return self._position

    def take(self, count: int) -> Sequence[MicroBatch]:
        """The next `count` micro-batches of this rank."""
        return [self._next() for _ in range(count)]

    def _next(self) -> MicroBatch:
        start = self._position + self._data_rank * self._batch.micro
        self._position += self._batch.micro * self._batch.data_parallel
        return collate(self._data, self._order.rows(start, self._batch.micro), self._pad, self._packed)


def in_order(
    data: Dataset, limit: int | None, size: int, data_rank: int, ranks: int, pad: int, packed: bool
) -> list[MicroBatch]:
    """The first `limit` rows as micro-batches of `size`, the same for any number of ranks; this rank's share.

    Every rank gets the same number of them; the last may be empty rows.
    """
    rows = list(range(min(len(data), limit or len(data))))
    batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    batches += [[-1]] * (-len(batches) % ranks)
    return [collate(data, batch, pad, packed) for batch in batches[data_rank::ranks]]
