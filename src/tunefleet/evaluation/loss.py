"""Evaluation loss: the mean over all loss tokens of validation data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tunefleet.contracts import Evaluable, Group, MicroBatch
from tunefleet.evaluation import interruption
from tunefleet.evaluation.halving import PartSize, in_parts


def mean_loss(
    engine: Evaluable, group: Group, batches: Sequence[MicroBatch], check: interruption.Check | None = None
) -> float:
    """The sum of token losses over all ranks, divided by the number of loss tokens; NaN without any.

    `batches` are this rank's; every rank has the same number of them. What is too much for the memory of a rank that
    computes alone is computed in halves of a batch. Raises what `check` raises before one of them.
    """
    size = PartSize(max((len(batch.tokens) for batch in batches), default=1), "evaluation.batch")
    checked = interruption.batches(batches, "evaluating, batches", check, len(batches))
    sums = [part for batch in checked for part in _sums(engine, batch, size)]
    total, tokens = group.total([sum(loss for loss, _ in sums), sum(count for _, count in sums)])
    return total / tokens if tokens else math.nan


def _sums(engine: Evaluable, batch: MicroBatch, size: PartSize) -> Iterator[tuple[float, int]]:
    """(sum of token losses, loss tokens) of each part of a batch."""
    if engine.sharded:
        return iter([engine.loss(batch)])
    return in_parts(lambda rows: engine.loss(_rows(batch, rows)), range(len(batch.tokens)), size)


def _rows(batch: MicroBatch, rows: Sequence[int]) -> MicroBatch:
    """The sequences of these adjacent numbers."""
    if len(rows) == len(batch.tokens):
        return batch
    part = slice(rows[0], rows[-1] + 1)
    tensors: dict[str, Any] = {name: tensor[part] for name, tensor in vars(batch).items() if tensor is not None}
    return replace(batch, **tensors)


def perplexity(loss: float) -> float:
    """exp(loss); infinite where that is too large for a float."""
    return math.inf if loss >= 700 else math.exp(loss)
