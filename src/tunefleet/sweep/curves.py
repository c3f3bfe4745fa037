"""Curves of trials: what their runs logged, as few points as a page can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.base.even_sample import evenly_spaced
from tunefleet.base.paths import RunPaths
from tunefleet.sweep.leaderboard import Row
from tunefleet.sweep.objective import Objectives, metric_key
from tunefleet.sweep.study import Trial, TrialRun
from tunefleet.tracking import metrics
from tunefleet.tracking.series import (
    SMOOTHED_OVER,
    Series,
    is_number,
    moving_average,
    rounded,
    series,
    spread_out,
    timed,
)

MOST_CURVES = 200
MOST_POINTS = 500  # of a curve
_ALL_POINTS = 40_000  # of all curves together
_LOSS = "train/loss"


@dataclass(frozen=True)
class Curve:
    """One run of a trial: its training loss, the same smoothed, and the losses of its evaluations."""

    trial: int
    seed: int | None
    loss: Series
    smooth: list[float]
    evaluations: Series


def curves(rows: Sequence[Row], objectives: Objectives) -> list[Curve]:
    """Curves of the better half and of an even sample of the other trials, at most `MOST_CURVES` together."""
    pairs = _pairs(_selected([row.trial for row in rows]))
    points = min(MOST_POINTS, max(2, _ALL_POINTS // max(1, len(pairs))))
    drawn = (_curve(trial, run, objectives, points) for trial, run in pairs)
    return [curve for curve in drawn if curve.loss.steps or curve.evaluations.steps]


def _selected(trials: Sequence[Trial]) -> list[Trial]:
    begun = [trial for trial in trials if trial.measured or not trial.state.final]
    best = begun[: MOST_CURVES // 2]
    remaining = begun[len(best) :]
    return [*best, *(remaining[i] for i in evenly_spaced(len(remaining), MOST_CURVES - len(best)))]


def _pairs(trials: Sequence[Trial]) -> list[tuple[Trial, TrialRun]]:
    """The first seed of all, then the second ones, as far as there is room."""
    seeds = max((len(trial.runs) for trial in trials), default=0)
    pairs = [(trial, trial.runs[i]) for i in range(seeds) for trial in trials if i < len(trial.runs)]
    return pairs[:MOST_CURVES]


def _curve(trial: Trial, run: TrialRun, objectives: Objectives, points: int) -> Curve:
    records = list(timed(metrics.read(RunPaths(Path(run.run_dir)).metrics)))
    losses = [record for record in records if is_number(record.get(_LOSS))]
    smooth = moving_average([record[_LOSS] for record in losses], len(losses) / SMOOTHED_OVER)
    indices = spread_out(len(losses), points)
    key = _evaluated(records, objectives)
    measured = [record for record in records if is_number(record.get(key))]
    evaluations = [measured[i] for i in spread_out(len(measured), points)]
    return Curve(
        trial.number,
        run.seed,
        series([losses[i] for i in indices], _LOSS),
        [rounded(smooth[i]) for i in indices],
        series(evaluations, key),
    )


def _evaluated(records: Sequence[Mapping[str, Any]], objectives: Objectives) -> str:
    """The loss of the objective's split, else of the first one."""
    losses = dict.fromkeys(key for record in records for key in record if _is_loss(key))
    split = metric_key(next(iter(objectives)), losses).rpartition("/")[0]
    return f"{split}/loss" if f"{split}/loss" in losses else next(iter(losses), "")


def _is_loss(key: str) -> bool:
    return key.startswith("evaluation/") and key.endswith("/loss")
