"""Grid study: the study of a plain grid, which has no journal, made from the files of its runs.

Points that differ in their seed alone are replicates of one trial: their mean counts, as in a search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import Sweep, SweepPoint
from tunefleet.config.sweep import Direction
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader
from tunefleet.sweep import replicates
from tunefleet.sweep.journal import Event
from tunefleet.sweep.objective import Objectives, evaluated, measured
from tunefleet.sweep.study import Score, Study, Trial, TrialRun, TrialState
from tunefleet.sweep.trial_measures import measures
from tunefleet.tracking import metrics

_SEEDS = ("seed", "train.seed")


def objectives_of(sweep: Sweep) -> Objectives:
    """The loss on the first validation split that a run measured; the training loss where none was."""
    statuses = (status.read(RunPaths(Path(point.run_dir)).status) for point in sweep.points)
    splits = (key for run_status in statuses if run_status for key in run_status.evaluation if key.endswith("/loss"))
    return {next(splits, "train/loss"): Direction.MIN}


def study_of(sweep: Sweep, objectives: Objectives, reader: StatusReader) -> Study:
    """The points as trials, numbered in the order in which they were typed."""
    study = Study()
    for number, (values, points) in enumerate(_replicates(sweep.points), 1):
        runs = [Run(RunPaths(Path(point.run_dir))) for point in points]
        statuses = [reader.status(run.paths) for run in runs]
        trial_runs = tuple(_trial_run(*pair) for pair in zip(runs, points, statuses, strict=True))
        study.trials[number] = _trial(number, dict(values), trial_runs, statuses, objectives)
    return study


def events_of(study: Study) -> tuple[Event, ...]:
    """The ends of its trials, as a journal would have them: each when the last of its runs was updated."""
    ended = [trial for trial in study.trials.values() if trial.state.final]
    times = {trial.number: max(map(_updated, trial.runs)) for trial in ended}
    ordered = sorted(ended, key=lambda trial: times[trial.number])
    return tuple(Event(i, times[trial.number], trial.state.value, _data(trial)) for i, trial in enumerate(ordered, 1))


def _updated(run: TrialRun) -> float:
    run_status = status.read(RunPaths(Path(run.run_dir)).status)
    return run_status.updated if run_status else 0.0


def _data(trial: Trial) -> dict[str, Any]:
    scores = {"means": trial.result.means, "spreads": trial.result.spreads} if trial.result else {}
    return {"trial": trial.number, "reason": trial.reason, **scores}


def _replicates(points: Sequence[SweepPoint]) -> list[tuple[tuple[tuple[str, str], ...], list[SweepPoint]]]:
    """The settings that differ, seeds apart, each with the points that have them."""
    typed = [_settings(point) for point in points]
    common = set(typed[0].items()).intersection(*(settings.items() for settings in typed))
    trials: dict[tuple[tuple[str, str], ...], list[SweepPoint]] = {}
    for settings, point in zip(typed, points, strict=True):
        values = tuple(pair for pair in settings.items() if pair not in common and pair[0] not in _SEEDS)
        trials.setdefault(values, []).append(point)
    return list(trials.items())


def _settings(point: SweepPoint) -> dict[str, str]:
    """{key: value} as typed; the last one of a key holds."""
    pairs = (override.partition("=") for override in point.overrides)
    return {key.lstrip("+~"): value for key, _, value in pairs}


def _trial_run(run: Run, point: SweepPoint, run_status: Status | None) -> TrialRun:
    settings = _settings(point)
    seed = next((settings[key] for key in _SEEDS if settings.get(key, "").isdigit()), None)
    return TrialRun(
        point.run_dir,
        str(run.plan.get("identity", "")),
        tuple(run.plan.get("overrides") or point.overrides),
        None if seed is None else int(seed),
        run_status.total_steps if run_status else None,
        run.ranks or 1,
        run.plan.get("parameters"),
    )


def _trial(
    number: int,
    values: Mapping[str, str],
    runs: tuple[TrialRun, ...],
    statuses: Sequence[Status | None],
    objectives: Objectives,
) -> Trial:
    state = _state(statuses)
    score = _score(runs, statuses, objectives) if state is TrialState.FINISHED else None
    reasons = dict.fromkeys(run_status.reason for run_status in statuses if run_status and run_status.reason)
    return Trial(
        number, values, runs, "grid", state, result=score, reason="; ".join(reasons), measured=measures(runs, statuses)
    )


def _state(statuses: Sequence[Status | None]) -> TrialState:
    """One state for all replicates: what still happens comes first, then what went wrong."""
    states = {run_status.state if run_status else None for run_status in statuses}
    if any(state and not state.final for state in states):
        return TrialState.RUNNING
    if None in states:
        return TrialState.DRAWN
    for state, trial_state in _STATES.items():
        if state in states:
            return trial_state
    return TrialState.FINISHED


_STATES = {
    State.FAILED: TrialState.FAILED,
    State.CANCELLED: TrialState.STOPPED,
    State.INTERRUPTED: TrialState.STOPPED,
    State.PREEMPTED: TrialState.STOPPED,
    State.PRUNED: TrialState.PRUNED,
    State.PAUSED: TrialState.PAUSED,
}


def _score(runs: Sequence[TrialRun], statuses: Sequence[Status | None], objectives: Objectives) -> Score | None:
    pairs = zip(runs, statuses, strict=True)
    results = [[_value(run, run_status, objective) for objective in objectives] for run, run_status in pairs]
    complete = [[value for value in result if value is not None] for result in results]
    return replicates.score(complete) if complete == results else None


def _value(run: TrialRun, run_status: Status | None, objective: str) -> float | None:
    """From its status, or its metrics where the status does not hold it."""
    value = evaluated(run_status.evaluation, objective) if run_status else None
    return value if value is not None else measured(metrics.read(RunPaths(Path(run.run_dir)).metrics), objective)
