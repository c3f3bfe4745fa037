"""How long a run is, in optimizer steps, once the number of rows is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunefleet.base.units import Duration
from tunefleet.plan.plan import Plan


@dataclass(frozen=True)
class Horizon:
    """Optimizer steps: the whole run, its warm-up and final decay, and the cadences (0 is never)."""

    total: int
    warmup: int
    evaluate_every: int
    save_every: int
    steps_per_epoch: float
    decay: int = 0


def total_steps(plan: Plan, rows: int) -> int:
    """The optimizer steps of `plan` over `rows` training rows; epochs round up, so that every row is trained on."""
    return plan.config.train.max_steps or _whole(plan.config.train.epochs * rows / plan.batch.total)


def horizon(plan: Plan, rows: int) -> Horizon:
    """The lengths of `plan` over `rows` training rows, in optimizer steps."""
    per_epoch = rows / plan.batch.total
    total = total_steps(plan, rows)
    return Horizon(
        total=total,
        warmup=min(plan.config.schedule.warmup.in_steps(total, per_epoch), total),
        evaluate_every=_cadence(plan.config.evaluation.every, total, per_epoch),
        save_every=_cadence(plan.config.checkpoint.every, total, per_epoch),
        steps_per_epoch=per_epoch,
        decay=min(plan.config.schedule.decay.in_steps(total, per_epoch), total),
    )


def _whole(steps: float) -> int:
    """Rounds up, but not for the last bit of a product: 7 x (29 / 7) is 29.000000000000004."""
    return math.ceil(round(steps, 6))


def _cadence(every: Duration | None, total: int, per_epoch: float) -> int:
    """Rounds up: 25% of 1,029 steps is every 258, not 257 with a fourth time just before the end."""
    return max(1, _whole(every.exactly(total, per_epoch))) if every and every.amount else 0
