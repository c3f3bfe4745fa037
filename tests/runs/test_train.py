"""Do whole runs record what they did, to the last step, and does `evaluate` measure what they measured?"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan
from tests.ranks import run_in_ranks
from tunefleet.base import own_code
from tunefleet.base.errors import ConfigError
from tunefleet.contracts import RunState, StepResult
from tunefleet.runs import own_callbacks, profile_table
from tunefleet.runs.profile import StepProfile

RUNS = {
    "bf16-0": ["parallel=ddp", "train.precision=bf16", "tracking.log_every=3", "train.profile=2..3"],
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


def test_what_a_plain_run_does_not_need_is_not_imported(runs: dict[str, dict[str, Any]]) -> None:
    assert runs["bf16-2"]["imported"] == []


def test_control_a_profile_needs_the_compiler(runs: dict[str, dict[str, Any]]) -> None:
    assert "torch._dynamo.utils" in runs["bf16-0"]["imported"]


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


# The profile of `train.profile`


@pytest.fixture(scope="module")
def profiled(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The table of steps 2 to 3."""
    table: dict[str, Any] = json.loads((Path(runs["bf16-0"]["run_dir"]) / "profile" / "steps-2-3.json").read_text())
    return table


def test_the_trace_holds_the_parts_of_the_steps_that_were_asked_for(runs: dict[str, dict[str, Any]]) -> None:
    with gzip.open(Path(runs["bf16-0"]["run_dir"]) / "profile" / "steps-2-3.trace.json.gz") as stream:
        events = json.load(stream)["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert [names.count(f"step: {part}") for part in ("data wait", "forward", "backward", "optimizer")] == [2, 2, 2, 2]
    assert any(event["name"].startswith("aten::") for event in events)


def test_the_table_says_where_the_time_goes(runs: dict[str, dict[str, Any]], profiled: dict[str, Any]) -> None:
    """Against the seconds of the third step, which the engine took with its own clock."""
    assert (profiled["first_step"], profiled["last_step"]) == (2, 3)
    parts = {name: part["seconds"] for name, part in profiled["parts"].items()}
    assert list(parts) == ["data wait", "forward", "backward", "optimizer", "everything else"]
    assert sum(parts.values()) == pytest.approx(profiled["seconds"])
    assert min(parts["forward"], parts["backward"], parts["optimizer"]) > 0
    (third,) = [r["train/seconds"] for r in runs["bf16-0"]["metrics"] if r["step"] == 3 and "train/seconds" in r]
    assert parts["forward"] + parts["backward"] + parts["optimizer"] > 0.5 * third
    assert profiled["seconds"] > third
    assert len(profiled["operations"]) == 15
    assert profiled["operations"][0]["seconds"] >= profiled["operations"][-1]["seconds"] > 0
    text = (Path(runs["bf16-0"]["run_dir"]) / "profile" / "steps-2-3.txt").read_text()
    for name in (*parts, "communication", profiled["operations"][0]["name"]):
        assert name in text


def test_communication_that_overlaps_counts_once() -> None:
    def event(name: str, start: float, end: float) -> Any:
        return SimpleNamespace(
            name=name, device_type=SimpleNamespace(name="CPU"), time_range=SimpleNamespace(start=start, end=end)
        )

    events = [event("gloo:all_reduce", 0, 2e6), event("c10d::allreduce_", 1e6, 3e6), event("aten::mm", 0, 9e6)]
    profiler = SimpleNamespace(events=lambda: events, key_averages=list)
    assert profile_table.tabulate(profiler, 1, 1, 10.0)["communication"] == {"seconds": 3.0, "share": 0.3}


def test_a_resumed_run_profiles_what_is_left_of_the_steps_or_says_that_none_is(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = tiny_plan(tmp_path, profile="2..3")
    result = StepResult(1.0, 1.0, 1e-3, 10, 5, False, 0.1)
    whole = StepProfile(plan, 0, 4, RunState(step=3), lines.append)
    whole.before_step(3)
    whole.close(RunState(step=4))
    assert lines == ["profile: steps 2..3 were done in an earlier start; nothing is profiled"]
    rest = StepProfile(plan, 0, 4, RunState(step=2), lines.append)
    rest.before_step(2)
    rest.end_step(RunState(step=3), result)
    assert "profile of steps 3 to 3: " in lines[-1]
    assert {path.name for path in plan.paths.profile.iterdir()} == {
        f"steps-3-3.{end}" for end in ("json", "txt", "trace.json.gz")
    }


def test_steps_that_the_run_does_not_have_are_refused(tmp_path: Path) -> None:
    for text, reason in (
        ("3..5", "outside of the run, which has 4 steps"),
        ("4..3", "is not allowed"),
        ("0..2", "is not"),
    ):
        with pytest.raises(ConfigError, match=reason):
            tiny_plan(tmp_path, profile=text, max_steps=4)
    plan = tiny_plan(tmp_path, profile="3..5")  # the number of steps is known when the data are
    with pytest.raises(ConfigError, match="which has 4 steps"):
        StepProfile(plan, 0, 4, RunState(), print)
