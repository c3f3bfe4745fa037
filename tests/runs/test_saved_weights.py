"""Are the weights of a checkpoint the whole model's, whatever shards they were saved in?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.plans import tiny_plan
from tunefleet.checkpoint.find_checkpoint import Checkpoint
from tunefleet.contracts import RunState
from tunefleet.runs.saved_weights import saved_weights

Q, NORM = "model.model.layers.0.self_attn.q_proj.weight", "model.model.norm.weight"


def checkpoint(folder: Path, files: dict[str, Any]) -> Checkpoint:
    """One whose shards are `files`, by name."""
    saved = Checkpoint(folder, RunState(), ranks=1)
    saved.shards.mkdir()
    for name, content in files.items():
        torch.save(content, saved.shards / name)
    return saved


def test_one_file_holds_all_of_them(tmp_path: Path) -> None:
    weight = torch.rand(4, 4)
    saved = checkpoint(tmp_path, {"mp_rank_00_model_states.pt": {"module": {Q: weight}}})
    assert torch.equal(saved_weights(tiny_plan(tmp_path, "llama"), saved)[Q.removeprefix("model.")], weight)


def test_tensor_parallel_shards_are_joined_and_others_taken_once(tmp_path: Path) -> None:
    weight, norm = torch.rand(4, 4), torch.rand(4)
    files = {
        f"mp_rank_{rank:02d}_model_states.pt": {"module": {Q: part.contiguous(), NORM: norm}}
        for rank, part in enumerate(weight.chunk(2))
    }
    plan = tiny_plan(tmp_path, "llama")
    weights = saved_weights(replace(plan, layout=replace(plan.layout, tensor=2)), checkpoint(tmp_path, files))
    assert torch.equal(weights[Q.removeprefix("model.")], weight)
    assert torch.equal(weights[NORM.removeprefix("model.")], norm)


@pytest.mark.parametrize("stages", [(0, 1, 2)])
def test_stages_of_a_pipeline_are_put_together(tmp_path: Path, stages: tuple[int, ...]) -> None:
    first, second = torch.rand(2), torch.rand(3)
    files = {
        "layer_00-model_states.pt": {"learner.model.a": first},
        "layer_01-model_states.pt": {"learner.model.b": second},
    }
    plan = replace(tiny_plan(tmp_path, "llama"), stages=stages)
    weights = saved_weights(plan, checkpoint(tmp_path, files))
    assert sorted(weights) == ["a", "b"]
    assert torch.equal(weights["b"], second)
