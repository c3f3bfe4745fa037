"""Hands a run's model over: from its newest checkpoint to a folder that plain transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.checkpoint.store import shards_of_latest
from tunefleet.config.adapter import AdapterName
from tunefleet.config.train import Precision
from tunefleet.engine import frozen
from tunefleet.model import build, tokenizer
from tunefleet.model.learner import Learner
from tunefleet.plan.plan import Plan
from tunefleet.plan.tensor import dimension
from tunefleet.runs import parts
from tunefleet.runs.hand_over import hand_over


def export(plan: Plan, folder: Path | None = None) -> Path:
    """Writes the model of the newest checkpoint to `folder` (the run's own by default); needs no ranks.

    Raises `RunError` where the run has no checkpoint.
    """
    target = folder or plan.paths.export
    shards = shards_of_latest(plan.paths.checkpoints)
    family = str(plan.sources.architecture.get("model_type"))
    words = tokenizer.load(plan.sources.tokenizer, family)
    template = parts.chat_template(plan, words)
    weights = _weights(plan, shards)
    model = _model(plan, shards, weights)
    hand_over(plan, target, model, dict(model.state_dict()), words, template)
    return target


def exported(plan: Plan) -> Path:
    """The folder of the exported model, written now where it is not there yet."""
    return plan.paths.export if plan.paths.export.is_dir() else export(plan)


def _model(plan: Plan, shards: Path, weights: dict[str, Tensor]) -> PreTrainedModel:
    """The model with `weights`; those that did not learn come from where they came from when it was trained."""
    model = build.build(plan.sources, plan.config.train.seed)
    parts.learning(plan, model)
    model.to(next(iter(weights.values())).dtype)
    if frozen.any_frozen(model) and plan.config.adapter.name is not AdapterName.QLORA:  # that was trained beside 4 bits
        frozen.expect(shards.parent, frozen.fingerprint(Learner(model), 0, 1))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    learnt = {name for name, weight in model.named_parameters() if weight.requires_grad}
    strange = {*unexpected, *(learnt & set(missing))}
    assert not strange, f"{shards} and the model differ in {sorted(strange)}"
    return model


def _weights(plan: Plan, shards: Path) -> dict[str, Tensor]:
    """The weights in the number format that they were trained in; under ZeRO-3, the rounded masters."""
    if plan.config.parallel.zero_stage < 3:
        if plan.stages:
            state = _stages(shards)
        else:
            state = _joined(plan, [_module(shards, peer) for peer in range(plan.layout.tensor)])
    else:
        masters = get_fp32_state_dict_from_zero_checkpoint(
            str(shards.parent), tag=shards.name, exclude_frozen_parameters=(shards.parent / frozen.FILE).exists()
        )
        state = {name: weight.to(_DTYPES[plan.config.train.precision]) for name, weight in masters.items()}
    return {name.removeprefix("model."): weight for name, weight in state.items()}


def _stages(shards: Path) -> dict[str, Tensor]:
    """The weights of all stages of a pipeline: DeepSpeed writes a file for each."""
    parts = [_read(file) for file in sorted(shards.glob("layer_*-model_states.pt"))]
    return {name.removeprefix("learner."): weight for part in parts for name, weight in part.items()}


def _module(shards: Path, peer: int) -> dict[str, Tensor]:
    """What tensor peer `peer` holds of the model."""
    module: dict[str, Tensor] = _read(shards / f"mp_rank_{peer:02d}_model_states.pt")["module"]
    return module


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    return content


def _joined(plan: Plan, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The whole weights: divided ones are put together, the others are every peer's."""
    if len(parts) == 1:
        return parts[0]
    family = str(plan.sources.architecture.get("model_type"))
    dims = {name: dimension(family, name) for name in parts[0]}
    return {
        name: weight if (dim := dims[name]) is None else torch.cat([part[name] for part in parts], dim)
        for name, weight in parts[0].items()
    }


_DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
