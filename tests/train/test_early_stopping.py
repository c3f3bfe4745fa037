"""Does a run stop where evaluations get no better, and at the same step after a restart at any of them?"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tunefleet.base import sweep_requests
from tunefleet.base.paths import RunPaths
from tunefleet.contracts import RunState
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.train.early_stopping import EarlyStopping
from tunefleet.train.stop import Reason, Stop

LOSSES = [3.0, 2.0, 2.5, 1.9, 1.95, 1.85, 1.99, 2.0, 1.0]


def stopped_at(values: list[float], patience: int | None, min_delta: float = 0, name: str = "v/loss") -> int | None:
    """The evaluation, counted from 1, after which the run stops; it starts again before each."""
    state: dict[str, float] = {}
    for number, value in enumerate(values, 1):
        early_stopping = EarlyStopping(name, patience, min_delta)
        early_stopping.restore(json.loads(json.dumps(state, allow_nan=False)))
        early_stopping.observe(number, {name: value})
        if early_stopping.is_due:
            return number
        state = early_stopping.state
    return None


@pytest.mark.parametrize(
    ("patience", "min_delta", "step"),
    [(1, 0, 3), (2, 0, 8), (3, 0, None), (None, 0, None), (2, 0.15, 4), (1, 1.0, 2), (9, 0, None)],
)
def test_it_stops_after_as_many_evaluations_without_a_better_one(
    patience: int | None, min_delta: float, step: int | None
) -> None:
    assert stopped_at(LOSSES, patience, min_delta) == step


def test_exact_matches_are_better_where_there_are_more() -> None:
    assert stopped_at([0.1, 0.2, 0.3, 0.3], 1, name="v/exact_match") == 4
    assert stopped_at([0.3, 0.2], 1, name="v/exact_match") == 2


def test_what_is_no_number_is_no_better() -> None:
    assert stopped_at([math.nan, math.nan], 2) == 2
    assert stopped_at([1.0, math.nan, 0.9, math.inf], 2) is None


def test_the_reason_names_step_metric_and_the_best() -> None:
    early_stopping = EarlyStopping("v/loss", 2, 0.5)
    for step, loss in ((10, 2.0), (20, 1.9), (30, 2.1)):
        early_stopping.observe(step, {"v/loss": loss})
    assert early_stopping.reason == (
        "early stopping at step 30: v/loss was no better by more than 0.5 in 2 evaluations; "
        "the best is 2.0000 at step 10"
    )


def test_it_goes_before_a_rung_of_the_same_step(tmp_path: Path) -> None:
    """What a sweep asks of a run that has nothing more to learn would cost a start for nothing."""
    sweep_requests.set_rung(RunPaths(tmp_path), 2)
    early_stopping = EarlyStopping("v/loss", 1, 0)
    stop = Stop(10, RunPaths(tmp_path), SingleProcess(), early_stopping)
    early_stopping.observe(1, {"v/loss": 1.0})
    assert stop.reason(RunState(step=2)) is Reason.RUNG
    early_stopping.observe(2, {"v/loss": 1.0})
    assert [stop.reason(RunState(step=step)) for step in (2, 10)] == [Reason.NO_BETTER, Reason.COMPLETE]
