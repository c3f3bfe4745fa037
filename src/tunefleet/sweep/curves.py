"""Curves of trials: what their runs logged, as few points as a page can show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.base.even_sample import evenly_spaced
from tunefleet.base.paths import RunPaths
from tunefleet.sweep.leaderboard import Row
from tunefleet.sweep.objective import Objectives, metric_key
from tunefleet.sweep.study import Trial, TrialRun
from tunefleet.tracking import metrics

MOST_CURVES = 200
MOST_POINTS = 500  # of a curve
_ALL_POINTS = 40_000  # of all curves together
_SMOOTHED_OVER = 30  # a moving average over 1/30 of a curve
_LOSS = "train/loss"


@dataclass(frozen=True)
class Series:
    """Values against steps, tokens and seconds of training."""

    steps: list[int]
    tokens: list[int]
    seconds: list[float]
    values: list[float]


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


def moving_average(values: Sequence[float], window: float) -> list[float]:
    """The exponential moving average over about `window` values, unbiased at its beginning (Kingma and Ba 2015)."""
    keep = 1 - 1 / max(1.0, window)
    smooth, average, weight = [], 0.0, 0.0
    for value in values:
        average, weight = keep * average + (1 - keep) * value, keep * weight + 1 - keep
        smooth.append(average / weight)
    return smooth


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
    records = list(_timed(metrics.read(RunPaths(Path(run.run_dir)).metrics)))
    losses = [record for record in records if _is_number(record.get(_LOSS))]
    smooth = moving_average([record[_LOSS] for record in losses], len(losses) / _SMOOTHED_OVER)
    places = _spread_out(len(losses), points)
    key = _evaluated(records, objectives)
    measured = [record for record in records if _is_number(record.get(key))]
    evaluations = [measured[i] for i in _spread_out(len(measured), points)]
    return Curve(
        trial.number,
        run.seed,
        _series([losses[i] for i in places], _LOSS),
        [_rounded(smooth[i]) for i in places],
        _series(evaluations, key),
    )


def _timed(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """With the seconds of training up to each: the pauses between two starts do not count.

    A record stands for the steps since the one before it, of which it has the last one's time.
    """
    seconds, step = 0.0, 0
    for record in records:
        if "train/seconds" in record:
            seconds += record["train/seconds"] * (record["step"] - step)
            step = record["step"]
        yield {**record, "seconds": seconds}


def _evaluated(records: Sequence[Mapping[str, Any]], objectives: Objectives) -> str:
    """The loss of the objective's split, else of the first one."""
    losses = dict.fromkeys(key for record in records for key in record if _is_loss(key))
    split = metric_key(next(iter(objectives)), losses).rpartition("/")[0]
    return f"{split}/loss" if f"{split}/loss" in losses else next(iter(losses), "")


def _is_loss(key: str) -> bool:
    return key.startswith("evaluation/") and key.endswith("/loss")


def _series(records: Sequence[Mapping[str, Any]], key: str) -> Series:
    return Series(
        [record["step"] for record in records],
        [record.get("tokens", 0) for record in records],
        [round(record["seconds"], 2) for record in records],
        [_rounded(record[key]) for record in records],
    )


def _spread_out(total: int, limit: int) -> list[int]:
    """At most `limit` positions of `total`, evenly, the first and the last among them."""
    if total <= limit:
        return list(range(total))
    return [i * (total - 1) // (limit - 1) for i in range(limit)]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value and abs(value) != float("inf")
