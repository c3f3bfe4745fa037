"""Checkpoint files of a run beside the shards: its chat template, and the machine that it was computed on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tunefleet.base import files
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import Group
from tunefleet.data import prepare
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.plan.horizon import Pace
from tunefleet.plan.paths import validation_splits
from tunefleet.plan.plan import Plan

CHAT_TEMPLATE = "chat_template.jinja"  # in every checkpoint; transformers calls it so in an export
MACHINE = "machine.json"  # in every checkpoint


def checkpoint_store(plan: Plan, group: Group, template: str, keep_every: Pace) -> CheckpointStore:
    """The checkpoints of the run; each holds the chat template that it was trained with, and what computed it."""
    checkpoint, seed = plan.config.checkpoint, plan.config.train.seed
    budget = checkpoint.disk_budget.bytes if checkpoint.disk_budget else None
    retention = Retention(checkpoint.keep, checkpoint.keep_best, keep_every, budget)
    metric = metric_of(plan, checkpoint.metric)
    return CheckpointStore(
        plan.paths.checkpoints,
        plan.identity,
        group,
        retention,
        texts(plan, template),
        seed,
        metric,
        plan.trajectory,
    )


def metric_of(plan: Plan, name: str) -> str:
    """The metric of an evaluation that `name` stands for; `name` itself where nothing is measured."""
    return validation_splits.metric(name, validation_splits.metrics(plan.config)) or name


def texts(plan: Plan, template: str) -> dict[str, str]:
    """The small files of a checkpoint, by name."""
    return {CHAT_TEMPLATE: template, MACHINE: json.dumps(machine(plan), indent=2) + "\n"}


def machine(plan: Plan) -> dict[str, Any]:
    """What decides in which order numbers are added, and so the last bits of a sum."""
    on_gpu = plan.layout.device == "cuda"
    return {
        "CPU threads": torch.get_num_threads(),
        "processes": plan.layout.world_size,
        "strategies": plan.config.parallel.name,
        "versions of torch": str(torch.__version__),
        "devices": torch.cuda.get_device_name() if on_gpu else f"CPU with {torch.backends.cpu.get_cpu_capability()}",
    }


def chat_template(plan: Plan, tokenizer: Any, checkpoint: Path) -> ChatTemplate:
    """The template that `checkpoint` (a folder) was trained with: a file of the user's may have changed since."""
    saved = checkpoint / CHAT_TEMPLATE
    if saved.exists():
        return replace(prepare.own_template(tokenizer), source=files.read_text(saved))
    return prepare.chat_template(plan.config.data, tokenizer)
