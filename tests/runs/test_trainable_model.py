"""Are the trainable weights of a run those that its settings name?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plans import LLAMA, tiny_plan
from tunefleet.runs.trainable_model import build_model


def trainable(folder: Path, model: Any = "llama", **settings: Any) -> tuple[set[str], set[str]]:
    """The names of trainable and of frozen weights."""
    weights = dict(build_model(tiny_plan(folder, model, **settings), None).named_parameters())
    return {n for n, w in weights.items() if w.requires_grad}, {n for n, w in weights.items() if not w.requires_grad}


def test_all_weights_are_trainable(tmp_path: Path) -> None:
    names, frozen = trainable(tmp_path)
    assert "lm_head.weight" in names
    assert frozen == set()


def test_weights_that_a_pattern_names_are_frozen(tmp_path: Path) -> None:
    model = {"name": "llama", "init": "random", "architecture": LLAMA, "freeze": ["*embed_tokens*"]}
    names, frozen = trainable(tmp_path, model)
    assert "lm_head.weight" in names
    assert frozen == {"model.embed_tokens.weight"}


@pytest.mark.parametrize("rank", [2, 4])
def test_with_an_adapter_its_matrices_alone_are(tmp_path: Path, rank: int) -> None:
    names, frozen = trainable(tmp_path, adapter={"name": "lora", "rank": rank})
    assert names
    assert all("lora_" in name for name in names)
    assert not any("lora_" in name for name in frozen)


def test_first_weights_depend_on_the_seed_alone(tmp_path: Path) -> None:
    first, repeated, other_seed = (build_model(tiny_plan(tmp_path, seed=seed), None).state_dict() for seed in (1, 1, 2))
    assert all(first[name].equal(repeated[name]) for name in first)
    assert not all(first[name].equal(other_seed[name]) for name in first)
