"""Does a run keep the tokenizer that it was trained with, whatever becomes of the folder it came from?"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.plan import Plan
from tunefleet.runs import saved_tokenizer

ROW = "Add two numbers"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    tiny_tokenizer().save_pretrained(tmp_path / "theirs")
    run_plan = tiny_plan(tmp_path)
    return replace(run_plan, sources=replace(run_plan.sources, tokenizer=str(tmp_path / "theirs")))


def edited(folder: Path) -> None:
    """Other tokens for two letters."""
    settings = files.read_json(folder / "tokenizer.json")
    vocabulary = settings["model"]["vocab"]
    vocabulary["o"], vocabulary["w"] = vocabulary["w"], vocabulary["o"]
    files.write_json(folder / "tokenizer.json", settings)


def test_a_tokenizer_that_is_edited_later_is_not_the_runs(plan: Plan, tmp_path: Path) -> None:
    first_ids = saved_tokenizer.load(plan)(ROW).input_ids
    saved_tokenizer.save(plan)
    edited(tmp_path / "theirs")
    saved_tokenizer.save(plan)  # once: a second start keeps the first copy
    assert saved_tokenizer.load(plan)(ROW).input_ids == first_ids
    shutil.rmtree(plan.paths.tokenizer)
    assert saved_tokenizer.load(plan)(ROW).input_ids != first_ids  # control


def test_a_tokenizer_that_is_gone_is_still_there(plan: Plan, tmp_path: Path) -> None:
    first_ids = saved_tokenizer.load(plan)(ROW).input_ids
    saved_tokenizer.save(plan)
    shutil.rmtree(tmp_path / "theirs")
    assert saved_tokenizer.load(plan)(ROW).input_ids == first_ids
    assert not list(plan.paths.root.glob("*.tmp"))


def test_settings_of_another_type_are_refused_before_the_tokenizer_is_used(plan: Plan) -> None:
    """A limit that is text was an error of transformers at the first row (fuzz of a trained run, seed 17)."""
    saved_tokenizer.save(plan)
    path = plan.paths.tokenizer / "tokenizer_config.json"
    files.write_json(path, {**files.read_json(path), "model_max_length": "many"})
    with pytest.raises(ConfigError, match="cannot be loaded"):
        saved_tokenizer.load(plan)
