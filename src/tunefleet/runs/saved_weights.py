"""Saved weights: the whole model's, read from whatever shards a checkpoint has."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tunefleet.checkpoint.find_checkpoint import Checkpoint
from tunefleet.engine import frozen, shards
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.plan.families.tensor import shard_dimension
from tunefleet.plan.plan import Plan


def saved_weights(plan: Plan, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights in the dtype that they were trained in; under ZeRO-3, the rounded fp32 master weights.

    The files say which strategy saved them: that of the plan may have changed since.
    """
    if any(True for _ in checkpoint.shards.glob("layer_*-model_states.pt")):
        state = _pipeline_stages(checkpoint.shards)
    elif model_files := sorted(checkpoint.shards.glob("mp_rank_*_model_states.pt")):
        state = _joined(plan, [_module(file) for file in model_files])
    else:
        masters = shards.masters(checkpoint.shards, (checkpoint.folder / frozen.FILE).exists())
        state = {name: weight.to(torch_dtype(plan.config.train.precision)) for name, weight in masters.items()}
    return {name.removeprefix("model."): weight for name, weight in state.items()}


def _pipeline_stages(folder: Path) -> dict[str, Tensor]:
    """The weights of all stages of a pipeline: DeepSpeed writes a file for each."""
    stages = [shards.read(file) for file in sorted(folder.glob("layer_*-model_states.pt"))]
    return {name.removeprefix("learner."): weight for stage in stages for name, weight in stage.items()}


def _module(file: Path) -> dict[str, Tensor]:
    """The weights of a model, or of one tensor-parallel rank."""
    module: dict[str, Tensor] = shards.read(file)["module"]
    return module


def _joined(plan: Plan, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The whole weights: sharded ones are concatenated, the others are the same on every rank."""
    if len(parts) == 1:
        return parts[0]
    dims = {name: shard_dimension(plan.sources.architecture, name) for name in parts[0]}
    return {
        name: weight if (dim := dims[name]) is None else torch.cat([part[name] for part in parts], dim)
        for name, weight in parts[0].items()
    }
