"""Are a few answers generated where that is cheap, and is it said where they are not?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.config.evaluation import ALL, AUTO
from tunefleet.plan import Plan, answers


def test_a_small_model_answers_five_questions(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    assert plan.config.evaluation.generate_rows == 5
    assert plan.summary()["measured"] == "loss every 20% or 1 epoch, and at the end; 5 answers of each split"


@pytest.mark.parametrize(
    ("ranks", "settings"),
    [(2, {"stage": 3}), (2, {"parallel": {"tensor": 2}}), (2, {"parallel": {"pipeline": 2}})],
    ids=["zero3", "tensor", "pipeline"],
)
def test_spread_weights_answer_none_and_that_is_said(tmp_path: Path, ranks: int, settings: dict[str, Any]) -> None:
    plan = tiny_plan(tmp_path, ranks=ranks, **settings)
    assert plan.config.evaluation.generate_rows == 0
    assert "no answers (evaluation.generate_rows=5 generates some)" in plan.summary()["measured"]


@pytest.mark.parametrize(
    ("device", "parameters", "cheap"),
    [
        ("cpu", 100_000_000, True),
        ("cpu", 100_000_001, False),
        ("cuda", 10_000_000_000, True),
        ("cuda", 10_000_000_001, False),
        ("cuda", None, False),
    ],
)
def test_what_is_cheap(tmp_path: Path, device: str, parameters: int | None, cheap: bool) -> None:
    plan = tiny_plan(tmp_path)
    assert answers.is_cheap(plan.config, replace(plan.layout, device=device), parameters) is cheap


@pytest.mark.parametrize(("typed", "number"), [("all", ALL), (0, 0), (7, 7)])
def test_a_number_that_was_asked_for_stays_and_comes_back_from_the_file(
    tmp_path: Path, typed: str | int, number: int
) -> None:
    plan = tiny_plan(tmp_path, evaluation={"generate_rows": typed})
    assert plan.config.evaluation.generate_rows == number != AUTO
    plan.save()
    assert Plan.read(plan.paths.root) == plan
