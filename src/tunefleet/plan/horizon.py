"""How long a run is, in optimizer steps, once the number of rows is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunefleet.base.units import Cadence
from tunefleet.config.evaluation import EvaluationConfig
from tunefleet.plan.plan import Plan

_SHORT = 5  # steps: 20 % of fewer is not even one


@dataclass(frozen=True)
class Pace:
    """After every `steps` optimizer steps, and every `seconds` on the clock; 0 is never."""

    steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Horizon:
    """Optimizer steps: the whole run, its warm-up and final decay; and how often what is done."""

    total: int
    warmup: int
    steps_per_epoch: float
    decay: int = 0
    evaluate_every: Pace = Pace()
    save_every: Pace = Pace()
    log_every: Pace = Pace(steps=1)


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
        evaluate_every=_evaluation_pace(plan.config.evaluation.every, total, per_epoch),
        save_every=_pace(plan.config.checkpoint.every, total, per_epoch),
        log_every=_pace(plan.config.tracking.log_every, total, per_epoch),
        steps_per_epoch=per_epoch,
        decay=min(plan.config.schedule.decay.in_steps(total, per_epoch), total),
    )


def _whole(steps: float) -> int:
    """Rounds up, but not for the last bit of a product: 7 x (29 / 7) is 29.000000000000004."""
    return math.ceil(round(steps, 6))


def _evaluation_pace(every: Cadence | None, total: int, per_epoch: float) -> Pace:
    """As typed; by itself a run of a few steps, which somebody tries something with, is measured at the end alone."""
    short = every == EvaluationConfig().every and total < _SHORT
    return Pace() if short else _pace(every, total, per_epoch)


def _pace(every: Cadence | None, total: int, per_epoch: float) -> Pace:
    """Rounds up: 25% of 1,029 steps is every 258, not 257 with a fourth time just before the end."""
    if every is None:
        return Pace()
    exactly = every.exactly(total, per_epoch)
    return Pace(max(1, _whole(exactly)) if exactly else 0, every.minutes * 60)
