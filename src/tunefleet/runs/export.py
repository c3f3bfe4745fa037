"""Hands a run's model over: from its newest checkpoint to a folder that plain transformers loads."""

from __future__ import annotations

from pathlib import Path

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import Tensor

from tunefleet.checkpoint.store import shards_of_latest
from tunefleet.config.train import Precision
from tunefleet.model import build, tokenizer
from tunefleet.model.export import export as write
from tunefleet.plan.plan import Plan
from tunefleet.plan.tensor import dimension
from tunefleet.runs import parts


def export(plan: Plan, folder: Path | None = None) -> Path:
    """Writes the model of the newest checkpoint to `folder` (the run's own by default); needs no ranks.

    Raises `RunError` where the run has no checkpoint.
    """
    target = folder or plan.paths.export
    shards = shards_of_latest(plan.paths.checkpoints)
    family = str(plan.sources.architecture.get("model_type"))
    words = tokenizer.load(plan.sources.tokenizer, family)
    model = build.build(plan.sources, plan.config.train.seed)
    template = parts.chat_template(plan, words)
    weights = _weights(plan, shards)
    model.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    write(target, model, dict(model.state_dict()), words, template.source, parts.stops(template, words))
    return target


def exported(plan: Plan) -> Path:
    """The folder of the exported model, written now where it is not there yet."""
    return plan.paths.export if plan.paths.export.is_dir() else export(plan)


def _weights(plan: Plan, shards: Path) -> dict[str, Tensor]:
    """The weights in the number format that they were trained in; under ZeRO-3, the rounded masters."""
    if plan.config.parallel.zero_stage < 3:
        state = _joined(plan, [_module(shards, peer) for peer in range(plan.layout.tensor)])
    else:
        masters = get_fp32_state_dict_from_zero_checkpoint(str(shards.parent), tag=shards.name)
        state = {name: weight.to(_DTYPES[plan.config.train.precision]) for name, weight in masters.items()}
    return {name.removeprefix("model."): weight for name, weight in state.items()}


def _module(shards: Path, peer: int) -> dict[str, Tensor]:
    """What tensor peer `peer` holds of the model."""
    file = shards / f"mp_rank_{peer:02d}_model_states.pt"
    module: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)["module"]
    return module


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
