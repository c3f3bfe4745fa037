"""Horizon: the length of a run in optimizer steps, once the number of rows is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

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
    keep_every: Pace = Pace()
    check_replicas: Pace = Pace()


@overload
def total_steps(plan: Plan, rows: int) -> int: ...


@overload
def total_steps(plan: Plan, rows: int | None) -> int | None: ...


def total_steps(plan: Plan, rows: int | None) -> int | None:
    """The optimizer steps of `plan` over `rows` training rows; epochs round up, so that every row is trained on.

    None where the number of rows is needed and not known: only the data say it.
    """
    train = plan.config.train
    if train.max_steps or rows is None:
        return train.max_steps
    return _rounded_up(train.epochs * rows / plan.batch.total)


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
        keep_every=_pace(plan.config.checkpoint.keep_every, total, per_epoch),
        check_replicas=_pace(plan.config.train.check_replicas, total, per_epoch),
        steps_per_epoch=per_epoch,
        decay=min(plan.config.schedule.decay.in_steps(total, per_epoch), total),
    )


def _rounded_up(steps: float) -> int:
    """Rounds up, but not for the last bit of a product: 7 x (29 / 7) is 29.000000000000004."""
    return math.ceil(round(steps, 6))


def _evaluation_pace(cadence: Cadence | None, total: int, per_epoch: float) -> Pace:
    """As typed; where nothing is typed, a trial of a few steps is measured at the end alone."""
    is_trial = cadence == EvaluationConfig().every and total < _SHORT
    return Pace() if is_trial else _pace(cadence, total, per_epoch)


def _pace(cadence: Cadence | None, total: int, per_epoch: float) -> Pace:
    """Rounds up: 25% of 1,029 steps is every 258, not 257 with a fourth time just before the end."""
    if cadence is None:
        return Pace()
    exactly = cadence.exactly(total, per_epoch)
    return Pace(max(1, _rounded_up(exactly)) if exactly else 0, cadence.minutes * 60)
