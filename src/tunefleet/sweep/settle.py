"""Settling: what became of a trial, from how its runs stand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tunefleet.base.status import Cause, State, Status
from tunefleet.sweep.study import Score, Trial, TrialRun, TrialState

MAX_RETRIES = 3
_LOST_CAUSES = (
    Cause.KILLED,
    Cause.LOST_PEER,
    Cause.NODE_FAILURE,
    Cause.PREEMPTED,
    Cause.TERMINATED,
    Cause.TIME_LIMIT,
    Cause.HANG,
)


class Stand(Enum):
    """Where one run of a trial stands."""

    PENDING = "not begun"
    LIVE = "queued or running"
    AT_END = "finished"
    AT_RUNG = "paused at its rung"
    WITHDREW = "left because it was asked to"
    STOPPED = "stopped by a user"
    BROKEN_OFF = "ended with its driver by Ctrl-C"
    MACHINE_LOST = "its machine was lost"
    FAILED = "failed by its own fault"


@dataclass(frozen=True)
class Outcome:
    """An event of the journal: its kind and its fields beside the trial's number."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)


Measure = Callable[[Trial, bool], Score | str]
"""The objectives of a trial, at its end or at its rung; or why there are none."""


def stand(trial: Trial, run: TrialRun, status: Status | None, rung_step: int | None) -> Stand:
    """Where a run stands whose status is this; `rung_step` is the end of its rung, None for the end of the run.

    What ended before it was decided to start the run is old: the run has not begun.
    """
    if status and status.state is State.FINISHED:
        return Stand.AT_END
    if status and status.state is State.PAUSED and rung_step and status.step >= rung_step:
        return Stand.AT_RUNG
    if status is None or has_not_begun(trial, run, status) or status.state is State.PAUSED:
        return Stand.PENDING
    return _ended(status) if status.state.final else Stand.LIVE


def has_not_begun(trial: Trial, run: TrialRun, status: Status) -> bool:
    """Whether it stands as it did when it was decided to start it."""
    return trial.stood.get(run.run_dir) == status.updated


def _ended(status: Status) -> Stand:
    if status.state is State.PRUNED:
        return Stand.WITHDREW
    if status.state is State.CANCELLED or status.cause is Cause.STOP_FILE:
        return Stand.STOPPED
    if status.cause is Cause.INTERRUPT:
        return Stand.BROKEN_OFF
    return Stand.MACHINE_LOST if status.cause in _LOST_CAUSES else Stand.FAILED


def outcome(
    trial: Trial, stands: Sequence[Stand], statuses: Sequence[Status | None], measure: Measure
) -> Outcome | None:
    """What is to be written down about a running trial; None while there is nothing to say."""
    reason = _reason(trial, stands, statuses)
    if Stand.FAILED in stands and trial.ending is None and Stand.LIVE in stands:
        return Outcome("ending", {"state": TrialState.FAILED.value, "reason": reason})
    if Stand.LIVE in stands or (Stand.PENDING in stands and trial.ending is None):
        return None
    if Stand.FAILED in stands:
        return Outcome("failed", {"reason": reason})
    if all(stand is Stand.AT_END for stand in stands):
        return _scored(trial, measure, at_end=True)
    if trial.ending:
        return Outcome(trial.ending.value, {"reason": trial.reason})
    return _when_left(trial, stands, reason) or _scored(trial, measure, at_end=False)


def _when_left(trial: Trial, stands: Sequence[Stand], reason: str) -> Outcome | None:
    if Stand.STOPPED in stands:
        return Outcome("stopped", {"reason": reason})
    if Stand.WITHDREW in stands:
        return Outcome("pruned", {"reason": reason})
    if Stand.BROKEN_OFF in stands:
        return Outcome("resumed", {"rung": trial.rung})
    if Stand.MACHINE_LOST not in stands:
        return None
    if trial.retries < MAX_RETRIES:
        return Outcome("retried", {"reason": reason})
    return Outcome("failed", {"reason": f"lost {trial.retries + 1} times, last: {reason}"})


def _scored(trial: Trial, measure: Measure, at_end: bool) -> Outcome:
    """Its score; a trial without one, or whose score is no number, has failed: nothing could be compared."""
    score = measure(trial, at_end)
    if isinstance(score, str):
        return Outcome("failed", {"reason": score})
    if not all(map(math.isfinite, score.means)):
        return Outcome("failed", {"reason": "an objective is not a finite number"})
    scores = {"means": list(score.means), "spreads": list(score.spreads)}
    return Outcome("finished", scores) if at_end else Outcome("rung", {"rung": trial.rung, **scores})


def _reason(trial: Trial, stands: Sequence[Stand], statuses: Sequence[Status | None]) -> str:
    """Of the run that explains most: one that failed before one that was lost."""
    telling = (Stand.FAILED, Stand.STOPPED, Stand.WITHDREW, Stand.MACHINE_LOST)
    for stand in telling:
        for run, run_stand, status in zip(trial.runs, stands, statuses, strict=True):
            if run_stand is stand and status:
                seed = f"seed={run.seed}: " if len(trial.runs) > 1 else ""
                return f"{seed}{status.reason or status.state.value}"
    return ""
