"""Losers of a sweep: trials whose checkpoints nobody needs."""

from __future__ import annotations

from tunefleet.sweep import leaderboard
from tunefleet.sweep.objective import Objectives
from tunefleet.sweep.study import Study, Trial, TrialState


def losers(study: Study, objectives: Objectives) -> list[Trial]:
    """Pruned trials, and finished ones but the best, or of several objectives the Pareto front.

    Never those that were taken over: their runs belong to somebody else too.
    """
    rows = leaderboard.rows(study, objectives)
    best = {row.trial.number for row in rows if row.on_front or row.rank == 1}
    ended = study.in_state(TrialState.PRUNED, TrialState.FINISHED)
    return [trial for trial in ended if trial.number not in best and trial.source != "adopted"]
