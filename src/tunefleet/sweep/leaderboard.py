"""Leaderboard: the trials of a sweep in the order of their results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tunefleet.sweep.objective import Objectives, costs, pareto_front
from tunefleet.sweep.study import Score, Study, Trial, TrialState


@dataclass(frozen=True)
class Live:
    """What the runs of a trial hold that has not ended: `measured` as of an ended one, and a score so far."""

    measured: Mapping[str, float] = field(default_factory=dict)
    score: Score | None = None
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """A trial with its place. Only finished ones have a `rank`, from 1 on; of several objectives the Pareto front is
    first and marked. `score` is the result, else that of the last rung, else what its runs measured so far.
    """

    trial: Trial
    score: Score | None
    measured: Mapping[str, float]
    reason: str = ""
    rank: int | None = None
    on_front: bool = False


def rows(study: Study, objectives: Objectives, live: Mapping[int, Live] | None = None) -> list[Row]:
    """Finished trials by rank, then the others: those that got furthest first, and those that failed last."""
    looked_up = live or {}
    finished = [trial for trial in study.in_state(TrialState.FINISHED) if _is_measured(trial)]
    ranked = _ranked(finished, objectives)
    placed = {row.trial.number for row in ranked}
    unfinished = [
        _row(trial, looked_up.get(trial.number)) for trial in study.trials.values() if trial.number not in placed
    ]
    return [*ranked, *sorted(unfinished, key=lambda row: _order_of_unfinished(row, objectives))]


def winner(study: Study, objectives: Objectives) -> Row | None:
    """The finished trial with the best mean; of several objectives the best on the first one. None where none ended."""
    first = rows(study, objectives)[:1]
    return first[0] if first and first[0].rank else None


def front_size(study: Study, objectives: Objectives) -> int:
    """How many finished trials are on the Pareto front; 0 for a single objective."""
    return sum(row.on_front for row in rows(study, objectives))


def differing_keys(study: Study) -> list[str]:
    """The settings that are not the same in all trials, in the order in which the trials have them."""
    trials = list(study.trials.values())
    keys = dict.fromkeys(key for trial in trials for key in trial.values)
    return [key for key in keys if len({trial.values.get(key) for trial in trials}) > 1]


def _ranked(trials: list[Trial], objectives: Objectives) -> list[Row]:
    points = [costs(trial.result.means, objectives) for trial in trials if trial.result]
    front = pareto_front(points) if len(objectives) > 1 else set()
    order = sorted(range(len(trials)), key=lambda i: (i not in front, points[i], trials[i].number))
    return [
        Row(trials[i], trials[i].result, trials[i].measured, rank=rank, on_front=i in front)
        for rank, i in enumerate(order, 1)
    ]


def _is_measured(trial: Trial) -> bool:
    return trial.result is not None and all(map(math.isfinite, trial.result.means))


def _row(trial: Trial, live: Live | None) -> Row:
    score = trial.result or (trial.scores[max(trial.scores)] if trial.scores else None)
    if live is None:
        return Row(trial, score, trial.measured, trial.reason)
    return Row(trial, score or live.score, live.measured or trial.measured, trial.reason or live.reason)


def _order_of_unfinished(row: Row, objectives: Objectives) -> tuple[bool, int, tuple[float, ...], int]:
    has_left = row.trial.state in (TrialState.FAILED, TrialState.STOPPED)
    cost = costs(row.score.means, objectives) if row.score else (math.inf,)
    return has_left, -max(row.trial.scores, default=-1), cost, row.trial.number
