"""Is what a generation_config.json asks of answers said not to be used, and nothing that asks for nothing?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.plan.paths import generation_file
from tunefleet.plan.rules.notes import notes


@pytest.mark.parametrize(
    ("settings", "ignored"),
    [
        ({"repetition_penalty": 1.05, "eos_token_id": [1, 2], "transformers_version": "4"}, ["repetition_penalty"]),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 50}, ["do_sample", "temperature", "top_p"]),
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9}, []),
        ({"_from_model_config": True, "bos_token_id": 1, "max_length": 4096, "repetition_penalty": 1.0}, []),
        ({"forced_eos_token_id": 2, "a_setting_of_tomorrow": 3}, ["forced_eos_token_id", "a_setting_of_tomorrow"]),
        ({}, []),
    ],
)
def test_what_changes_answers_elsewhere_is_named(tmp_path: Path, settings: dict[str, Any], ignored: list[str]) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    assert list(generation_file.ignored(tmp_path)) == ignored
    note = generation_file.note(tmp_path)
    assert all(f"{name}={settings[name]}" in note for name in ignored)
    assert ("not used" in note) == bool(ignored)


@pytest.mark.parametrize("content", ["", "[1", "[]", "3", "null", "[" * 100_000])
def test_a_file_that_is_none_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "generation_config.json").write_text(content)
    assert generation_file.note(tmp_path) == ""
    assert generation_file.note(tmp_path / "gone") == generation_file.note(None) == ""


def test_the_plan_says_it_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"repetition_penalty": 1.3}')
    plan = tiny_plan(tmp_path)
    started = replace(plan.sources, weights=str(tmp_path))
    said = notes(plan.config, plan.layout, started, plan.batch, cpu_adam=False)
    assert any("repetition_penalty=1.3: not used" in note for note in said)
    assert not any("not used" in note for note in notes(plan.config, plan.layout, plan.sources, plan.batch, False))
