"""Is what decides by a metric refused where no evaluation measures it, or the disk has no room for it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.plan.paths import validation_splits


def refusal(folder: Path, **groups: Any) -> str:
    """Why a run of these settings is refused."""
    data = {"path": str(folder / "rows.jsonl"), "tokenizer": str(folder / "tokenizer"), **groups.pop("data", {})}
    tiny_plan(folder)  # the files
    with pytest.raises(ConfigError) as error:
        tiny_plan(folder, data=data, **groups)
    return str(error.value)


def stopping(**settings: Any) -> dict[str, Any]:
    """A group `train` of a run that stops early."""
    early_stopping = {"metric": "loss", "patience": 2, "min_delta": 0.0, **settings}
    return {"precision": "fp32", "sequence_length": 48, "early_stopping": early_stopping}


def test_an_unknown_metric_is_refused_with_what_there_is(tmp_path: Path) -> None:
    for settings in ({"checkpoint": {"metric": "accuracy"}}, {"train": stopping(metric="accuracy")}):
        message = refusal(tmp_path, **settings)
        assert "metric: 'accuracy' is measured by no evaluation. evaluation.metrics=[labels] measures it." in message
        assert "There are: validation/loss, validation/perplexity, validation/exact_match" in message


def test_a_metric_of_answers_that_is_measured_may_decide(tmp_path: Path) -> None:
    checkpoint = {"keep_best": 1, "metric": "macro_f1"}
    plan = tiny_plan(tmp_path, checkpoint=checkpoint, evaluation={"metrics": ["labels"], "generate_rows": 4})
    assert validation_splits.answers_needed(plan.config)
    assert validation_splits.cost("validation/macro_f1", 0.25) == -0.25


def test_without_validation_rows_nothing_is_measured(tmp_path: Path) -> None:
    message = refusal(tmp_path, checkpoint={"keep_best": 1}, data={"validation_rows": 0})
    assert "checkpoint.metric: there are no validation rows to measure loss of." in message


def test_what_decides_on_the_way_is_measured_on_the_way(tmp_path: Path) -> None:
    message = refusal(tmp_path, checkpoint={"keep_best": 1}, evaluation={"every": None}, train=stopping())
    assert "checkpoint.keep_best=1: nothing is measured before the end." in message
    assert "train.early_stopping.patience=2: nothing is measured before the end." in message


def test_exact_matches_need_answers(tmp_path: Path) -> None:
    exact = {"keep_best": 1, "metric": "validation/exact_match"}
    assert "exact_match needs answers" in refusal(tmp_path, checkpoint=exact, evaluation={"generate_rows": 0})
    assert tiny_plan(tmp_path, checkpoint=exact).config.evaluation.generate_rows > 0


def test_a_disk_budget_has_room_for_what_is_there_while_one_is_saved(tmp_path: Path) -> None:
    """22,144 parameters: fp32 weights and two moments."""
    assert "200 kB is less than 2 checkpoints of about" in refusal(tmp_path, checkpoint={"disk_budget": "200 kB"})
    assert "and the best" in refusal(tmp_path, checkpoint={"disk_budget": "600 kB", "keep_best": 1})
    tiny_plan(tmp_path, checkpoint={"disk_budget": "1 MB"})


def test_early_stopping_is_part_of_what_a_run_is_where_it_is_on(tmp_path: Path) -> None:
    plain, kept = tiny_plan(tmp_path), tiny_plan(tmp_path, checkpoint={"keep_best": 3})
    stops = tiny_plan(tmp_path, train=stopping())
    assert plain.identity == kept.identity != stops.identity
    assert tiny_plan(tmp_path, train=stopping(patience=None, min_delta=1.0)).identity == plain.identity
