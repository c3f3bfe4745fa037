"""Exported model: read again, as it computed in training or in its own dtype."""

from __future__ import annotations

from pathlib import Path

import torch

from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.plain_model import PlainModel
from tunefleet.model import build
from tunefleet.model.learner import Learner
from tunefleet.plan.families.lora_targets import exports_adapter_only
from tunefleet.plan.plan import Plan
from tunefleet.plan.precision import is_slow
from tunefleet.plan.processes.machine import Machine
from tunefleet.runs.checkpoint_export import exported
from tunefleet.runs.chosen_checkpoint import LAST


def as_trained(plan: Plan, choice: str = LAST) -> PlainModel:
    """The exported model with the weights and products of training: stage 0 keeps fp32 weights and autocasts."""
    dtype = torch_dtype(plan.config.train.precision)
    if plan.config.parallel.zero_stage:
        return PlainModel(exported_learner(plan, dtype, choice))
    return PlainModel(exported_learner(plan, torch.float32, choice), None if dtype is torch.float32 else dtype)


def in_own_dtype(plan: Plan, choice: str = LAST) -> PlainModel:
    """The exported model in the dtype of its files, or in fp32 where this machine is slow in 16 bits."""
    return PlainModel(exported_learner(plan, torch.float32 if is_slow(Machine.this()) else "auto", choice))


def exported_learner(plan: Plan, dtype: torch.dtype | str, choice: str = LAST) -> Learner:
    """The chosen checkpoint's exported model, with weights of `dtype`. Raises `RunError` where files were changed."""
    folder = exported(plan, choice)
    adapter_alone = exports_adapter_only(plan.config.adapter)  # transformers then reads the adapter's base model, too
    model = build.read_export(folder, dtype, Path(plan.sources.weights or "") if adapter_alone else None)
    return Learner(model, tile=plan.config.train.loss_tile, by_document=plan.by_document)
