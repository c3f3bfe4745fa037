"""Hands trained weights over: as a whole model that plain transformers loads, or as an adapter for peft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.config.adapter import AdapterName
from tunefleet.data.template import ChatTemplate
from tunefleet.model import adapters
from tunefleet.model.export import export
from tunefleet.plan.plan import Plan
from tunefleet.runs import parts


def hand_over(
    plan: Plan, folder: Path, model: PreTrainedModel, weights: dict[str, Tensor], words: Any, template: ChatTemplate
) -> None:
    """Writes `weights` of `model` to `folder`; with an adapter as `adapter.merge` says."""
    adapter, stops = plan.config.adapter, parts.stops(template, words)
    if adapter.name is not AdapterName.NONE and adapter.merge:
        model = adapters.merged(model, adapter, weights)
        weights = dict(model.state_dict())
    export(folder, model, weights, words, template.source, stops)
