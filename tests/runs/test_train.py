"""Do whole runs record what they did, to the last step, and does `evaluate` measure what they measured?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.ranks import run_in_ranks

RUNS = {
    "bf16-0": ["parallel=ddp", "train.precision=bf16", "tracking.log_every=3"],
    "bf16-2": ["parallel=zero2", "train.precision=bf16"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {
        name: run_in_ranks("tests.runs.training:followed", 1, tmp_path_factory.mktemp(name), overrides)[0]
        for name, overrides in RUNS.items()
    }


def test_the_last_step_is_recorded_and_is_the_last_loss(runs: dict[str, dict[str, Any]]) -> None:
    run = runs["bf16-0"]
    records = {r["step"]: r["train/loss"] for r in run["metrics"] if "train/loss" in r}
    assert list(records) == [3, 4]  # every third, and the last
    assert (run["step"], run["loss"]) == (4, records[4])


@pytest.mark.parametrize("name", RUNS)
def test_evaluate_measures_what_the_run_measured(runs: dict[str, dict[str, Any]], name: str) -> None:
    run = runs[name]
    (final,) = [record for record in run["metrics"] if record.get("final")]
    losses = [key for key in final if key.startswith("evaluation/") and key.endswith("/loss")]
    assert losses
    assert {key: run["again"][key] for key in losses} == pytest.approx({key: final[key] for key in losses}, rel=1e-6)
    assert run["measured"]["precision"] == "bf16, as in training"
    assert run["measured"]["data"] == "demo"


@pytest.mark.parametrize("name", RUNS)
def test_control_in_fp32_it_would_be_another_loss(runs: dict[str, dict[str, Any]], name: str) -> None:
    run = runs[name]
    assert any(loss != pytest.approx(run["again"][key], rel=1e-5) for key, loss in run["in fp32"].items())


def test_without_an_adapter_peft_is_not_imported(runs: dict[str, dict[str, Any]]) -> None:
    assert {name: run["peft"] for name, run in runs.items()} == dict.fromkeys(RUNS, False)


def test_it_is_said_how_many_answers_were_counted(runs: dict[str, dict[str, Any]]) -> None:
    assert {value for key, value in runs["bf16-0"]["again"].items() if key.endswith("/answers")} == {2}
