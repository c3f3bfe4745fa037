"""Order of sequences: a pure function of seed and position, and each rank's part of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from tunefleet.base.even_sample import evenly_spaced
from tunefleet.config.data import Grouping
from tunefleet.contracts import MicroBatch
from tunefleet.data.batches.collate import EXACT, Widths, collate
from tunefleet.data.batches.grouping import Numbers, arranged, by_length, sequence_lengths
from tunefleet.data.batches.loader import Collator, Loader
from tunefleet.data.store.dataset import Dataset
from tunefleet.plan.processes.batch import Batch


class Order:
    """All epochs one after another, each a permutation of the sequences drawn from (seed, epoch).

    `lengths` are the tokens of each sequence; `step` sequences are one optimizer step. Which ones a step has depends
    on nothing else, so every split of it over micro-batches and ranks trains the same sequences.
    """

    def __init__(self, lengths: Numbers, seed: int, step: int = 1, grouping: Grouping = Grouping.NEVER) -> None:
        self._lengths = lengths
        self._seed = seed
        self._size = step
        self._grouping = grouping
        self._epoch_drawn: tuple[int, Numbers] | None = None
        self._step_drawn: tuple[int, Numbers] | None = None

    def sequences(self, start: int, count: int) -> list[int]:
        """Sequence numbers at positions start ... start + count - 1."""
        first, last = start // self._size, -(-(start + count) // self._size)
        steps = np.concatenate([self._step(number) for number in range(first, max(last, first + 1))])
        begin = start - first * self._size
        return [int(number) for number in steps[begin : begin + count]]

    def _step(self, number: int) -> Numbers:
        """The sequences of step `number`; grouped, the longest come first and neighbours are alike."""
        if self._step_drawn is None or self._step_drawn[0] != number:
            drawn = self._positions(number * self._size, (number + 1) * self._size)
            alike = drawn if self._grouping is Grouping.NEVER else by_length(drawn, self._lengths)
            self._step_drawn = (number, alike)
        return self._step_drawn[1]

    def _positions(self, start: int, end: int) -> Numbers:
        total = len(self._lengths)
        parts = []
        for epoch in range(start // total, (end - 1) // total + 1):
            begins = epoch * total
            parts.append(self._epoch(epoch)[max(0, start - begins) : end - begins])
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> Numbers:
        if self._epoch_drawn is None or self._epoch_drawn[0] != epoch:
            random = np.random.default_rng([self._seed, epoch])
            drawn = random.permutation(len(self._lengths))
            offset = -epoch * len(drawn) % self._size
            numbers = arranged(drawn, self._lengths, self._size, offset, self._grouping, random, first=epoch == 0)
            self._epoch_drawn = (epoch, numbers)
        return self._epoch_drawn[1]

    def padding(self, micro: int) -> float:
        """The share of the first epoch's tokens that is padding in micro-batches of `micro` sequences."""
        count = len(self._lengths) // self._size * self._size or len(self._lengths)
        lengths = self._lengths[self.sequences(0, count)]
        widest = np.maximum.reduceat(lengths, np.arange(0, count, micro))
        sizes = np.diff([*range(0, count, micro), count])
        return 1 - float(lengths.sum() / (widest * sizes).sum())


class OrderedBatches:
    """The micro-batches of one data-parallel rank; `position` counts the sequences that all ranks have taken.

    One step takes the next `batch.total` sequences. The m-th micro-batches of all ranks are neighbours in it, so
    grouped ones are alike; every other time the ranks take them in reverse, or the first rank would always have the
    longest ones and the others wait for it. `workers` processes collate ahead of training, which moves no position; so
    does a thread, by `ahead` micro-batches, where there are none.
    A step whose first sequence is at a position of `left_out` is passed over.
    """

    def __init__(
        self,
        data: Dataset,
        batch: Batch,
        data_rank: int,
        *,
        seed: int,
        pad: int,
        packed: bool,
        position: int = 0,
        grouping: Grouping = Grouping.NEVER,
        workers: int = 0,
        left_out: Collection[int] = (),
        widths: Widths = EXACT,
        ahead: int = 0,
    ) -> None:
        self._batch = batch
        self._left_out = frozenset(left_out)
        self._data_rank = data_rank
        self._order = Order(sequence_lengths(data), seed, batch.total, grouping)
        self._position = position
        self._loader = Loader(Collator(data, pad, packed, widths), self._from(position), workers, ahead)

    @property
    def position(self) -> int:
        """Sequences taken so far by all ranks."""
        return self._position

    def take(self, count: int) -> Sequence[MicroBatch]:
        """The next `count` micro-batches of this rank. Raises `WorkerFailure`, naming those of a dead worker."""
        self._position = self._next_position(self._position)
        return [self._next() for _ in range(count)]

    @property
    def worker_pids(self) -> list[int]:
        """The processes that collate ahead, in the order of their turns."""
        return self._loader.worker_pids

    def close(self) -> None:
        """Ends the workers."""
        self._loader.close()

    def _next(self) -> MicroBatch:
        micro_batch = self._loader.next()
        self._position += self._batch.micro * self._batch.data_parallel
        return micro_batch

    def _from(self, position: int) -> Iterator[list[int]]:
        """The sequences of this rank's micro-batches from `position` on, without end."""
        micro, ranks = self._batch.micro, self._batch.data_parallel
        while True:
            position = self._next_position(position)
            yield self._order.sequences(position + place_in_step(self._batch, position, self._data_rank), micro)
            position += micro * ranks

    def _next_position(self, position: int) -> int:
        """The first position from `position` on that is not left out."""
        while position in self._left_out:
            position += self._batch.total
        return position


def place_in_step(batch: Batch, position: int, data_rank: int) -> int:
    """How many sequences behind `position`, where the ranks' next micro-batches begin, this rank's one begins."""
    number = position // (batch.micro * batch.data_parallel) % batch.accumulation
    return batch.micro * (batch.data_parallel - 1 - data_rank if number % 2 else data_rank)


def in_order(
    data: Dataset,
    limit: int | None,
    size: int,
    data_rank: int,
    ranks: int,
    pad: int,
    packed: bool,
    widths: Widths = EXACT,
) -> list[MicroBatch]:
    """`limit` sequences, evenly drawn, as micro-batches of `size`, the same for any number of ranks; this rank's part.

    Every rank gets the same number of them; the last may be empty sequences.
    """
    numbers = evenly_spaced(len(data), limit or len(data))
    batches = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    batches += [[-1]] * (-len(batches) % ranks)
    return [collate(data, batch, pad, packed, widths) for batch in batches[data_rank::ranks]]
