"""Requeue or restart, or neither: after which causes a run starts again by itself, how often, with what progress."""

from __future__ import annotations

from collections.abc import Sequence

from tunefleet.base.status import Cause
from tunefleet.config.launch import LaunchConfig
from tunefleet.launch.attempts import Attempt
from tunefleet.plan.processes.slurm_job import expected

_FUTILE = 2  # so many attempts in a row without a new checkpoint are enough
_RETRYABLE = (
    Cause.TIME_LIMIT,
    Cause.PREEMPTED,
    Cause.KILLED,
    Cause.NODE_FAILURE,
    Cause.LOST_PEER,
    Cause.HANG,
    Cause.DRIFT,
)


def retryable(cause: Cause) -> bool:
    """Whether starting again may help."""
    return cause in _RETRYABLE


def refusal(cause: Cause, done: Sequence[Attempt], launch: LaunchConfig) -> str | None:
    """Why a run must not start again by itself after `done` attempts, the last of which ended by `cause`."""
    if not retryable(cause):
        return f"{cause.value} is not fixed by starting again"
    on_slurm = expected(launch)
    most = launch.max_restarts if on_slurm else launch.restarts
    if len(done) > most:
        return f"launch.{'max_restarts' if on_slurm else 'restarts'}={most} are used up"
    recent = done[-_FUTILE:]
    if len(recent) == _FUTILE and not any(attempt.made_progress for attempt in recent):
        remedy = "raise launch.time, or save more often" if on_slurm else "save more often"
        return f"the last {_FUTILE} attempts saved no new step: {remedy}"
    return None
