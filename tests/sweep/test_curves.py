"""Are the curves of a page those of the runs, few enough, and without the pauses between two starts?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sweep.journals import SweepWriter
from tunefleet.config.sweep import Direction
from tunefleet.sweep import leaderboard
from tunefleet.sweep.curves import MOST_CURVES, MOST_POINTS, Curve, curves
from tunefleet.sweep.study import fold
from tunefleet.tracking.metrics import MetricsFile

OBJECTIVES = {"unseen/exact_match": Direction.MAX}


def logged(folder: Path, steps: range, every: int = 1) -> None:
    """Metrics of steps of two seconds each, with an evaluation at the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = MetricsFile(folder / "metrics.jsonl", steps.start - 1)
    for step in steps[every - 1 :: every]:
        metrics.log({"step": step, "tokens": step * 10, "train/loss": 1 / step, "train/seconds": 2.0})
    evaluation = {"evaluation/seen/loss": 9.0, "evaluation/unseen/loss": 0.5, "evaluation/unseen/exact_match": 0.25}
    metrics.log({"step": steps[-1], "tokens": steps[-1] * 10, **evaluation})
    metrics.finish({})


def curves_of(sweep: SweepWriter) -> list[Curve]:
    return curves(leaderboard.rows(fold(sweep.journal.events), OBJECTIVES), OBJECTIVES)


def test_a_curve_holds_steps_tokens_and_the_time_of_training_alone(tmp_path: Path) -> None:
    """Logged at every tenth step; the run pauses at step 30, and goes on."""
    sweep = SweepWriter(tmp_path / "outputs")
    folder = sweep.run_dir(sweep.finished({"optimizer.lr": "1"}, 0.25))
    logged(folder, range(1, 31), every=10)
    logged(folder, range(31, 61), every=10)
    (curve,) = curves_of(sweep)
    assert curve.loss.steps == [10, 20, 30, 40, 50, 60]
    assert curve.loss.seconds == [20, 40, 60, 80, 100, 120]
    assert curve.loss.values[0] == 0.1
    assert (curve.evaluations.steps, curve.evaluations.seconds) == ([30, 60], [60, 120])
    assert curve.evaluations.values == [0.5, 0.5]  # the loss of the objective's split


def test_long_runs_are_thinned_out_and_of_many_the_best_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    sweep = SweepWriter(tmp_path / "outputs")
    logged(sweep.run_dir(sweep.finished({"optimizer.lr": "0"}, 1.0)), range(1, 3001))
    (curve,) = curves_of(sweep)
    assert len(curve.loss.steps) == len(curve.smooth) == MOST_POINTS
    assert (curve.loss.steps[0], curve.loss.steps[-1]) == (1, 3000)
    for number in range(1, MOST_CURVES + 60):
        logged(sweep.run_dir(sweep.finished({"optimizer.lr": str(number)}, 1 - number / 1000)), range(1, 3))
    trials = [curve.trial for curve in curves_of(sweep)]
    assert len(trials) == MOST_CURVES
    assert trials[: MOST_CURVES // 2] == list(range(1, MOST_CURVES // 2 + 1))
    assert max(trials) > MOST_CURVES + 50


def test_a_run_without_metrics_has_no_curve(tmp_path: Path) -> None:
    sweep = SweepWriter(tmp_path / "outputs")
    sweep.finished({"optimizer.lr": "1"}, 0.25)
    assert curves_of(sweep) == []
