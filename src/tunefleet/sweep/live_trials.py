"""Live trials: how those that have not ended stand, by their run directories; ended ones are in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunefleet.base.paths import RunPaths, lies_in
from tunefleet.base.status import Status, read
from tunefleet.launch.run_state import StatusReader
from tunefleet.sweep import replicates
from tunefleet.sweep.leaderboard import Live
from tunefleet.sweep.objective import Objectives, evaluated
from tunefleet.sweep.study import Score, Study, Trial
from tunefleet.sweep.trial_measures import measures


def look_up(study: Study, objectives: Objectives, reader: StatusReader, outputs: Path) -> dict[int, Live]:
    """{number: how it stands} of the trials that have not ended. Only runs of `outputs` are settled."""

    def stands(run_dir: Path) -> Status | None:
        paths = RunPaths(run_dir)
        return reader.status(paths) if lies_in(run_dir, outputs) else read(paths.status)

    return {
        trial.number: live_of([stands(Path(run.run_dir)) for run in trial.runs], trial, objectives)
        for trial in study.trials.values()
        if not trial.state.final
    }


def live_of(statuses: Sequence[Status | None], trial: Trial, objectives: Objectives) -> Live:
    """A trial whose runs stand like this."""
    reasons = dict.fromkeys(status.reason for status in statuses if status and status.reason)
    return Live(measures(trial.runs, statuses), _score(statuses, objectives), "; ".join(reasons))


def _score(statuses: Sequence[Status | None], objectives: Objectives) -> Score | None:
    """The last evaluation of all runs, where every one of them has measured all objectives."""
    results = [[_measured(status, objective) for objective in objectives] for status in statuses]
    complete = [[value for value in result if value is not None] for result in results]
    return replicates.score(complete) if complete == results else None


def _measured(status: Status | None, objective: str) -> float | None:
    return evaluated(status.evaluation, objective) if status else None
