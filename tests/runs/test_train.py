"""Do whole runs record what they did, to the last step, and does `evaluate` measure what they measured?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tests.ranks import run_in_ranks
from tunefleet.base import own_code
from tunefleet.contracts import RunState, StepResult
from tunefleet.runs import own_callbacks

RUNS = {
    "bf16-0": ["parallel=ddp", "train.precision=bf16", "tracking.log_every=3"],
    "bf16-2": ["parallel=zero2", "train.precision=bf16"],
}
OWN = "tests.runs.own_project"
RUNS["bf16-2"] += [f"tracking.own_trackers=['{OWN}:Mine']", f"evaluation.own_metrics=['{OWN}:longer']"]
RUNS["bf16-2"] += [f"train.callbacks=['{OWN}:watch']"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    settings = tmp_path_factory.mktemp("settings") / "settings.toml"
    settings.write_text(f'allow_code = ["{OWN}"]')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(own_code.SETTINGS, str(settings))
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


# Code of the user's own


def test_own_trackers_get_every_record(runs: dict[str, dict[str, Any]]) -> None:
    mine = runs["bf16-2"]["mine"]
    assert mine[0].keys() == {"lr"}
    assert mine[1:-1] == runs["bf16-2"]["metrics"]
    assert mine[-1] == {"state": "finished"}


def test_own_metrics_are_measured_of_every_split(runs: dict[str, dict[str, Any]]) -> None:
    (final,) = [record for record in runs["bf16-2"]["metrics"] if record.get("final")]
    splits = {key.split("/")[1] for key in final if key.endswith("/exact_match")}
    assert {key.split("/")[1] for key in final if key.endswith("/longer")} == splits != set()


def test_callbacks_are_called_after_every_step(runs: dict[str, dict[str, Any]]) -> None:
    records = [record for record in runs["bf16-2"]["metrics"] if "train/loss" in record]
    assert runs["bf16-2"]["watched"] == [{key: r[key] for key in ("step", "train/loss")} for r in records]


def test_a_callback_that_returns_true_asks_the_run_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'allow_code = ["{OWN}"]')
    monkeypatch.setenv(own_code.SETTINGS, str(settings))
    plan = tiny_plan(tmp_path, callbacks=[f"{OWN}:watch"])
    plan.paths.root.mkdir()
    (act,) = own_callbacks.acts(plan, 0).values()
    result = StepResult(1.0, 1.0, 1e-3, 10, 5, False, 0.1)
    stops = []
    for step in (4, 5):
        act(RunState(step=step), result)
        stops.append(plan.paths.stop.exists())
    assert stops == [False, True]
