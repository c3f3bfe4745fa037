"""Do functions from Python do what the commands do, and is a run the same object for both?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.launch.test_local import FAKE_RANK
from tunefleet import api
from tunefleet.base.status import State
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.doors import compose
from tunefleet.doors.typed_overrides import typed
from tunefleet.launch import local

RECORDS = [{"step": 1, "train/loss": 2.5}, {"step": 2, "train/loss": 2.25, "evaluation/validation/loss": 2.0}]
TRAINS = f"(root / 'metrics.jsonl').write_text({''.join(json.dumps(record) + chr(10) for record in RECORDS)!r})"
FINISHES = """
record = json.loads((root / 'status.json').read_text())
(root / 'status.json').write_text(json.dumps({**record, 'state': 'finished', 'step': 2}))
"""


@pytest.fixture
def ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Ranks write two records and finish, or do what the test says instead."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(local, "RANK_MODULE", "fake_rank")

    def write(does: str) -> None:
        fake = FAKE_RANK.replace('exec((root / f"body{rank}.py").read_text())', does)
        (tmp_path / "fake_rank.py").write_text(fake)

    write(f"{TRAINS}\n{FINISHES}")
    return write


SMALL = ["tracking=files", "train.max_steps=2"]
WORDS: Mapping[str, list[str]] = {
    "defaults": [],
    "a number": ["train.max_steps=3"],
    "another model": ["model=opt-1.3b", "parallel=zero3"],
    "a job": ["launch=slurm", 'launch.partition="a,b"', "launch.extra={licenses: '4'}"],
    "a list": ["evaluation.metrics=[bleu,labels]"],
    "a text with quotes": ["data=jsonl", "data.path='it is \"a b\".jsonl'"],
}


@pytest.mark.parametrize("case", WORDS)
def test_what_is_composed_can_be_typed(case: str) -> None:
    config = api.compose(WORDS[case])
    assert config == compose.from_overrides(WORDS[case])
    assert compose.from_overrides(typed(config)) == config


def test_a_configuration_that_was_changed_can_be_typed() -> None:
    config = api.compose(SMALL)
    changed = replace(config, optimizer=replace(config.optimizer, lr=0.125))
    assert "optimizer.lr=0.125" in typed(changed)
    assert dump(compose.from_overrides(typed(changed))) == dump(changed)


def test_a_plan_is_that_of_the_command() -> None:
    assert "train.max_steps=2" in api.plan(api.compose(SMALL)).overrides
    command = [sys.executable, "-m", "tunefleet", "plan", *SMALL]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert api.plan(api.compose(SMALL)).name in shown


@pytest.mark.usefixtures("ranks")
def test_a_run_is_an_object(tmp_path: Path) -> None:
    run = api.train(api.compose(SMALL))
    assert run.path == tmp_path / "outputs" / run.name
    assert run.status
    assert (run.status.state, run.status.step) == (State.FINISHED, 2)
    assert run.metrics()["train/loss"].to_dict() == {1: 2.5, 2: 2.25}
    assert [len(line.get_xdata()) for line in run.curve().axes[0].lines] == [2, 2, 1]
    assert run.plan.name == run.name
    assert api.runs() == api.runs(tmp_path / "outputs") == [run]


def test_a_run_that_fails_says_why(ranks: Callable[[str], None]) -> None:
    ranks("fail('the loss was taken away', 1)")
    with pytest.raises(api.TunefleetError, match="the loss was taken away"):
        api.train(api.compose(SMALL))
    (run,) = api.runs()
    assert run.status
    assert run.status.state is State.FAILED


@pytest.mark.usefixtures("ranks")
def test_the_runs_of_a_grid() -> None:
    points = api.sweep([*SMALL, "optimizer.lr=0.001,0.002"])
    assert [run.plan.config.optimizer.lr for run in points] == [0.001, 0.002]
    assert [run.status and run.status.state for run in points] == [State.FINISHED] * 2
    assert sorted(run.name for run in points) == [run.name for run in api.runs()]


@pytest.mark.exhaustive
@pytest.mark.usefixtures("ranks")
def test_the_runs_of_a_search() -> None:
    """Its trials are real: they run in processes of their own."""
    search = ["+sweep.space={optimizer.lr: 'choice(0.001, 0.002)'}", "+sweep.sampler.name=grid", "+sweep.seeds=[1]"]
    points = api.sweep([*SMALL, *search])
    assert sorted(run.plan.config.optimizer.lr for run in points) == [0.001, 0.002]


@pytest.mark.parametrize("act", [api.compose, api.sweep])
def test_one_text_is_no_list_of_overrides(act: Callable[[Any], Any]) -> None:
    with pytest.raises(api.TunefleetError, match=r"\['train.max_steps=2', 'name=a'\]"):
        act("train.max_steps=2 name=a")


def test_a_mistake_is_one_error_with_every_complaint() -> None:
    with pytest.raises(api.TunefleetError) as caught:
        api.compose(["train.max_steps=no", "optimizer.rate=1"])
    assert len(str(caught.value).splitlines()) == 2


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = f"import sys\nfrom tunefleet import api\napi.plan(api.compose({SMALL}))\nprint([*sys.modules])"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {f"'{name}'" for name in ("torch", "deepspeed", "transformers", "wandb", "optuna", "pandas")} & {
        *modules.strip("[]\n").split(", ")
    }
    assert isinstance(api.compose(SMALL), RunConfig)
