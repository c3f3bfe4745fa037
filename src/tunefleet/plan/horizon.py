"""How long a run is, in optimizer steps, once the number of rows is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunefleet.base.units import Duration
from tunefleet.plan.plan import Plan


@dataclass(frozen=True)
class Horizon:
    """Optimizer steps: the whole run, its warm-up, and the cadences (0 is never)."""

    total: int
    warmup: int
    evaluate_every: int
    save_every: int
    steps_per_epoch: float


def horizon(plan: Plan, rows: int) -> Horizon:
    """The steps of `plan` over `rows` training rows; epochs round up, so that every row is seen."""
    per_epoch = rows / plan.batch.total
    total = plan.config.train.max_steps or math.ceil(plan.config.train.epochs * per_epoch)
    return Horizon(
        total=total,
        warmup=min(plan.config.schedule.warmup.in_steps(total, per_epoch), total),
        evaluate_every=_cadence(plan.config.evaluation.every, total, per_epoch),
        save_every=_cadence(plan.config.checkpoint.every, total, per_epoch),
        steps_per_epoch=per_epoch,
    )


def _cadence(every: Duration | None, total: int, per_epoch: float) -> int:
    return max(1, every.in_steps(total, per_epoch)) if every else 0
