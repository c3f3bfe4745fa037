"""Is a search looked at before its first trial, and is it the same one when its command is typed again?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import RunError
from tunefleet.base.sweeps import SweepPaths
from tunefleet.doors import sweep_advance, sweep_open, train
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.sweep import inbox
from tunefleet.sweep.definition import VERSION, Definition

FILE = """
# @package _global_
train: {max_steps: 9}
tracking: {wandb: disabled}
sweep:
  question: which one?
  space: {optimizer.lr: "1e-3,2e-3,3e-3", optimizer.weight_decay: "0,0.1"}
"""
Types = Callable[..., str]


@pytest.fixture
def types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Types:
    """`train.py -m sweeps=own WORDS` in a project of its own; what was printed. Nothing is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep_advance, "stay", lambda paths, definition, planner: 0)
    monkeypatch.setattr(sweep_open.look_ahead, "expect_readable", lambda plans: None)
    (tmp_path / "conf" / "sweeps").mkdir(parents=True)
    (tmp_path / "conf" / "sweeps" / "own.yaml").write_text(FILE)

    def act(*words: str, code: int = 0, multirun: bool = True) -> str:
        with pytest.raises(SystemExit) as ended:
            train.main([*(["-m"] if multirun else []), "sweeps=own", *words])
        printed = capsys.readouterr()
        assert ended.value.code == code, printed
        return printed.out + printed.err

    return act


def sweeps(folder: Path) -> list[Path]:
    return sorted((folder / "outputs" / "sweeps").glob("*"))


def definition(folder: Path) -> tuple[SweepPaths, dict[str, Any]]:
    (root,) = sweeps(folder)
    return SweepPaths(root), json.loads((root / "definition.json").read_text())


def test_a_dry_run_plans_everything_and_begins_nothing(types: Types, tmp_path: Path) -> None:
    printed = types("sweep.seeds=[1,2]", "--dry-run")
    assert "trials     6 x 2 seeds = 12 runs, drawn by grid" in printed
    assert "question   which one?" in printed
    assert "searched  optimizer.lr: 1e-3, 2e-3, 3e-3" in printed
    assert "... 1 more" in printed
    assert sweeps(tmp_path) == []
    assert types("sweep.dry_run=true").count("demo_opt-tiny_ddp-") == 5
    types()  # control
    assert len(sweeps(tmp_path)) == 1


def test_objectives_that_are_typed_replace_those_of_the_file(types: Types, tmp_path: Path) -> None:
    types("sweep.objective={exact_match: max}")
    assert definition(tmp_path)[1]["sweep"]["objective"] == {"exact_match": "max"}


def test_a_search_is_typed_with_m(types: Types) -> None:
    assert "sweeps=own: is a search; type it with -m" in types(multirun=False, code=2)


def test_many_runs_are_to_be_confirmed(types: Types, tmp_path: Path) -> None:
    assert "sweep.confirm: 6 runs are more than sweep.confirm_above=5" in types("sweep.confirm_above=5", code=2)
    assert sweeps(tmp_path) == []
    types("sweep.confirm_above=5", "sweep.confirm=true")
    assert len(sweeps(tmp_path)) == 1


def test_points_that_the_plan_refuses_are_refused_or_left_out(types: Types) -> None:
    bad = ["train.sequence_length=64,100000", "optimizer.lr=1e-3", "optimizer.weight_decay=0"]
    printed = types(*bad, code=2)
    assert "[train.sequence_length=100000] " in printed
    assert "1 points cannot be tried. sweep.invalid=leave_out begins without them." in printed
    printed = types(*bad, "sweep.invalid=leave_out", "--dry-run")
    assert "trials     1, drawn by grid" in printed
    assert "left out [train.sequence_length=100000]: " in printed


def test_points_that_do_not_fit_the_machine_that_is_meant_are_refused(types: Types) -> None:
    big = ["model=opt-13b", "model.init=random", "optimizer.weight_decay=0", "parallel=zero3", "data.tokenizer=demo"]
    assert "sweep.fits: does not fit 1xA100-40G" in types(*big, "sweep.fits=1xA100-40G", "plan.force=true", code=2)


def test_what_is_typed_replaces_the_file_and_the_same_command_is_the_same_sweep(types: Types, tmp_path: Path) -> None:
    printed = types("optimizer.lr=1e-4", "sweep.trials=2")
    assert "trials     2, drawn by grid" in printed
    paths, recorded = definition(tmp_path)
    assert recorded["overrides"] == [f"--config-dir={tmp_path}/conf", "sweeps=own", "optimizer.lr=1e-4"]
    assert f"sweep  {paths.root.name}: goes on" in types("optimizer.lr=1e-4", "sweep.trials=2")
    assert inbox.acts(paths.inbox) == []
    types("optimizer.lr=1e-4", "sweep.trials=4", "sweep.in_flight=1")
    (act,) = inbox.acts(paths.inbox)
    assert (act.kind, act.data) == ("extend", {"limits": {"trials": 4, "in_flight": 1}})
    types("optimizer.lr=1e-5")
    assert len(sweeps(tmp_path)) == 2  # control: another search


def test_another_search_may_not_take_a_name(types: Types) -> None:
    types("sweep.name=mine")
    assert "mine is another search (pruner.name was 'none', is 'asha')" in types(
        "sweep.name=mine", "sweep.pruner.name=asha", code=2
    )


def test_an_edit_of_the_configuration_is_refused_with_what_changed(types: Types, tmp_path: Path) -> None:
    types("sweep.name=mine")
    paths, _ = definition(tmp_path)
    sweep_advance.opened(paths.root)  # control
    file = tmp_path / "conf" / "sweeps" / "own.yaml"
    file.write_text(FILE.replace("max_steps: 9", "max_steps: 10"))
    with pytest.raises(
        RunError, match=r"the configuration has changed since the sweep began: train.max_steps was 9, is"
    ):
        sweep_advance.opened(paths.root)
    assert "train.max_steps was 9, is 10" in types("sweep.name=mine", code=2)


def test_a_definition_of_a_newer_version_is_left_to_it(types: Types, tmp_path: Path) -> None:
    types()
    paths, recorded = definition(tmp_path)
    paths.definition.write_text(json.dumps({**recorded, "version": VERSION + 1, "new": True}))
    with pytest.raises(RunError, match="begun by a newer version of tunefleet"):
        Definition.read(paths.definition)


def test_trials_are_planned_the_same_from_another_folder(
    types: Types, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their data are named from where the sweep began."""
    rows = [json.dumps({"prompt": f"say {n}", "completion": f"number {n}"}) for n in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    types("data=jsonl", "data.path=rows.jsonl")
    paths, _ = definition(tmp_path)
    values = {"optimizer.lr": "1e-3", "optimizer.weight_decay": "0"}
    plans = []
    for folder in (tmp_path, tmp_path / "conf"):
        monkeypatch.chdir(folder)
        plans.append(TrialPlanner(Definition.read(paths.definition)).plan(values, 3, None))
    assert plans[0] == plans[1]
    assert plans[0].config.seed == 3
    assert plans[0].config.data.path == str(tmp_path / "rows.jsonl")


def test_trials_are_one_group_of_the_tracker_named_by_what_differs(types: Types, tmp_path: Path) -> None:
    types("sweep.name=mine")
    paths, _ = definition(tmp_path)
    values = {"optimizer.lr": "1e-3", "optimizer.weight_decay": "0"}
    tracking = TrialPlanner(Definition.read(paths.definition)).plan(values, 3, None).config.tracking
    assert (tracking.group, tracking.run_name) == ("mine", "optimizer.lr=1e-3 optimizer.weight_decay=0 seed=3")
    types("sweep.name=theirs", "tracking.group=ours")
    theirs = Definition.read(tmp_path / "outputs" / "sweeps" / "theirs" / "definition.json")
    assert TrialPlanner(theirs).plan(values, 3, None).config.tracking.group == "ours"
