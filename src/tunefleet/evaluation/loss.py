"""Evaluation loss: the mean over all loss tokens of validation data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunefleet.contracts import Evaluable, Group, MicroBatch
from tunefleet.evaluation import interruption


def mean_loss(
    engine: Evaluable, group: Group, batches: Sequence[MicroBatch], check: interruption.Check | None = None
) -> float:
    """The sum of token losses over all ranks, divided by the number of loss tokens; NaN without any.

    `batches` are this rank's; every rank has the same number of them. Raises what `check` raises before one of them.
    """
    sums = [engine.loss(batch) for batch in interruption.batches(batches, "evaluating, batches", check, len(batches))]
    total, tokens = group.total([sum(loss for loss, _ in sums), sum(count for _, count in sums)])
    return total / tokens if tokens else math.nan


def perplexity(loss: float) -> float:
    """exp(loss); infinite where that is too large for a float."""
    return math.inf if loss >= 700 else math.exp(loss)
