"""Files of models that lie about their sizes: does each door say so in one line, before memory is taken for it?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.lying_models import CONFIG_LIES
from tests.ranks import ROOT
from tunefleet.config.model import Init, ModelConfig
from tunefleet.plan.families import size_limits
from tunefleet.plan.families.config_json import read_architecture


def opened(folder: Path, *arguments: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.lying_models", str(folder), *arguments],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("which", ["sample", pytest.param("all", marks=pytest.mark.exhaustive)])
def test_each_lie_is_refused_by_each_door_in_a_gibibyte(tmp_path: Path, which: str) -> None:
    outcomes = opened(tmp_path, which)
    assert len(outcomes) > (60 if which == "all" else 20)
    wrong = {door: outcome for door, outcome in outcomes.items() if not outcome.startswith("refused: ")}
    assert wrong == {}
    named = (".safetensors", "config.json", "/copy cannot be loaded: ")
    assert [outcome for outcome in outcomes.values() if not any(name in outcome for name in named)] == []


@pytest.mark.exhaustive
def test_control_without_the_comparison_memory_is_taken(tmp_path: Path) -> None:
    outcomes = opened(tmp_path, "careless")
    assert outcomes
    assert [outcome for outcome in outcomes.values() if outcome.startswith("refused: ")] == []


@pytest.mark.parametrize("key", CONFIG_LIES)
@pytest.mark.parametrize("is_override", [False, True], ids=["config.json", "model.architecture"])
def test_the_plan_names_the_key_and_the_limit(tmp_path: Path, key: str, is_override: bool) -> None:
    """`plan`, `train` and `check` read it here."""
    lie = {key: CONFIG_LIES[key]}
    sizes = {"model_type": "llama", "hidden_size": 32, "vocab_size": 320}
    (tmp_path / "config.json").write_text(json.dumps(sizes if is_override else sizes | lie))
    model = ModelConfig(name="hf", init=Init.RANDOM, architecture=lie if is_override else {})
    complaints: list[str] = []
    read_architecture(model, tmp_path, complaints)
    [complaint] = complaints
    assert f"{key}: {CONFIG_LIES[key]:,} is more than any model has; at most " in complaint


@pytest.mark.exhaustive
def test_no_family_of_transformers_is_refused() -> None:
    """By its own default configuration."""
    from transformers import CONFIG_MAPPING

    refused = {}
    for name in CONFIG_MAPPING:
        try:
            config = CONFIG_MAPPING[name]().to_dict()
        except Exception:  # families that need settings, or packages
            continue
        if complaints := size_limits.complaints(config):
            refused[name] = complaints
    assert refused == {}
