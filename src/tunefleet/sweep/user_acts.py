"""Acts of users: what each asks for, as the event that it becomes while the sweep stands as it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tunefleet.sweep.settle import Outcome
from tunefleet.sweep.study import Study, Trial, TrialState

BY_USER = "stopped by a user"
_RETRYABLE = (TrialState.FAILED, TrialState.STOPPED)
_RESUMABLE = (*_RETRYABLE, TrialState.PAUSED, TrialState.PRUNED)


def event_of(study: Study, kind: str, data: Mapping[str, Any], last_rung: int) -> Outcome:
    """The event that an act becomes; `ignored`, with the reason, where there is nothing to be done."""
    make = _ACTS.get(kind)
    return make(study, data, last_rung) if make else Outcome("ignored", {"reason": f"{kind}: no act of this version"})


def _stop(study: Study, data: Mapping[str, Any], last_rung: int) -> Outcome:
    if data.get("trial") is None:
        return Outcome("closed", {"reason": BY_USER, "stops": True})
    trial = study.trials.get(data["trial"])
    if trial is None or trial.state.final:
        return _ignored(data, trial, "stop")
    if trial.state is TrialState.RUNNING:
        return Outcome("ending", {"trial": trial.number, "state": TrialState.STOPPED.value, "reason": BY_USER})
    return Outcome("stopped", {"trial": trial.number, "reason": BY_USER})


def _resume(study: Study, data: Mapping[str, Any], last_rung: int) -> Outcome:
    """A trial that was paused or pruned trains to its end."""
    trial = study.trials.get(data["trial"])
    if trial is None or trial.state not in _RESUMABLE:
        return _ignored(data, trial, "resume")
    return Outcome("resumed", {"trial": trial.number, "rung": last_rung})


def _retry(study: Study, data: Mapping[str, Any], last_rung: int) -> Outcome:
    """A trial that failed or was stopped goes on to where it was going."""
    trial = study.trials.get(data["trial"])
    if trial is None or trial.state not in _RETRYABLE:
        return _ignored(data, trial, "retry")
    return Outcome("resumed", {"trial": trial.number, "rung": trial.rung})


def _pin(study: Study, data: Mapping[str, Any], last_rung: int) -> Outcome:
    return Outcome("pinned", {key: data.get(key) for key in ("values", "source", "warm_from")})


def _extend(study: Study, data: Mapping[str, Any], last_rung: int) -> Outcome:
    return Outcome("extended", {"limits": data["limits"]})


def _ignored(data: Mapping[str, Any], trial: Trial | None, act: str) -> Outcome:
    state = f"is {trial.state.value}" if trial else "does not exist"
    return Outcome("ignored", {"reason": f"{act}: trial {data['trial']} {state}"})


_ACTS: Mapping[str, Callable[[Study, Mapping[str, Any], int], Outcome]] = {
    "stop": _stop,
    "resume": _resume,
    "retry": _retry,
    "pin": _pin,
    "extend": _extend,
}
