"""Step rows: which rows each micro-batch of a step is made of, on every rank, recomputed from the order alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tunefleet.config.data import Grouping
from tunefleet.data.batches.grouping import sequence_lengths
from tunefleet.data.batches.order import Order, place_in_step
from tunefleet.data.store.dataset import Dataset
from tunefleet.plan.plan import Plan


@dataclass(frozen=True)
class TakenMicroBatch:
    """A micro-batch of a step, `number` of its data-parallel part from 0 on, and the ranks that read it.

    `rows` are (number of the sequence, places of its conversations as file:line) for each sequence; one may come twice.
    """

    number: int
    ranks: tuple[int, ...]
    rows: tuple[tuple[int, list[str]], ...]

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        sequences = [{"number": number, "rows": places} for number, places in self.rows]
        return {"ranks": self.ranks, "micro_batch": self.number, "sequences": sequences}


def of_step(plan: Plan, data: Dataset, position: int) -> list[TakenMicroBatch]:
    """All micro-batches of the step whose first sequence is at `position`, rank by rank."""
    batch, config = plan.batch, plan.config
    grouping = Grouping.NEVER if config.data.packing else config.data.group_by_length
    order = Order(sequence_lengths(data), config.train.seed, batch.total, grouping)
    micro_batches = []
    for data_rank in range(batch.data_parallel):
        for number in range(batch.accumulation):
            start = position + number * batch.micro * batch.data_parallel
            sequences = order.sequences(start + place_in_step(batch, start, data_rank), batch.micro)
            rows = tuple((sequence, data.places(sequence)) for sequence in sequences)
            micro_batches.append(TakenMicroBatch(number, ranks_of(plan, data_rank), rows))
    return micro_batches


def ranks_of(plan: Plan, data_rank: int) -> tuple[int, ...]:
    """The ranks that read part `data_rank` of every step: those of one copy of the model."""
    return tuple(rank for rank in range(plan.layout.world_size) if plan.layout.data_rank(rank) == data_rank)


def position_of(step: int, batch_total: int, left_out: Collection[int]) -> int:
    """Where the sequences of step number `step`, from 1 on, begin, in a run that passed over `left_out`."""
    position = -batch_total
    for _ in range(step):
        position += batch_total
        while position in left_out:
            position += batch_total
    return position
