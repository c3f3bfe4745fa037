"""Rules of LoRA, QLoRA and frozen weights: what they cannot be combined with, and what to use instead."""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec

from tunefleet.config import RunConfig
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.config.model import Init
from tunefleet.config.optimizer import OptimizerName
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.lora_targets import ALL_LINEAR, unknown_targets
from tunefleet.plan.processes.layout import Layout


def unused(config: RunConfig) -> list[str]:
    """Settings of an adapter need one."""
    adapter, default = config.adapter, AdapterConfig()
    if adapter.name is not AdapterName.NONE:
        return []
    changed = [f.name for f in fields(adapter) if getattr(adapter, f.name) != getattr(default, f.name)]
    return [f"adapter.{name}: not used, because there is no adapter. Use adapter=lora." for name in changed]


def freeze(config: RunConfig) -> list[str]:
    """Frozen weights leave some that are trainable, and are named as in the whole model."""
    frozen, adapter = config.model.freeze, config.adapter.name
    if not frozen:
        return []
    if adapter is not AdapterName.NONE:
        return ["model.freeze: not used, because an adapter freezes every weight of the model. Leave it out."]
    complaints = []
    if {"*", "**"} & set(frozen):
        complaints.append(
            "model.freeze: * freezes every weight, and none is trainable. Name fewer, or use adapter=lora "
            "model.freeze=[]."
        )
    if degrees := _degrees(config):
        complaints.append(
            f"model.freeze: names of weights change with {_typed(degrees)}. Use {_without(degrees)}, or freeze nothing."
        )
    return complaints


def train_only(config: RunConfig) -> list[str]:
    """Trainable weights are named in one way, and as in the whole model."""
    if not config.model.train_only:
        return []
    complaints = []
    if config.adapter.name is not AdapterName.NONE:
        complaints.append("model.train_only: an adapter alone is trainable where there is one. Leave out one of them.")
    if config.model.freeze:
        complaints.append("model.train_only: model.freeze is set too. Leave out one of them.")
    if degrees := _degrees(config):
        complaints.append(
            f"model.train_only: names of weights change with {_typed(degrees)}. Use {_without(degrees)}, or train all."
        )
    return complaints


def lr_ratio(config: RunConfig) -> list[str]:
    """A rate of its own for B is a group of its own, which muon divides otherwise."""
    if config.adapter.lr_ratio_b == 1 or config.optimizer.name is not OptimizerName.MUON:
        return []
    return ["adapter.lr_ratio_b: muon has rates of its own. Use optimizer=adamw, or adapter.lr_ratio_b=1."]


def targets(config: RunConfig, architecture: Architecture) -> list[str]:
    """Targets are linear layers of the model."""
    names = config.adapter.targets
    if config.adapter.name is AdapterName.NONE:
        return []
    if not names or (ALL_LINEAR in names and len(names) > 1):
        return [f"adapter.targets: {list(names)} is not allowed. Allowed: [{ALL_LINEAR}], or names of layers."]
    try:
        return unknown_targets(architecture.linears, names)
    except ValueError:
        return []  # the model itself will say


def with_split_layers(config: RunConfig) -> list[str]:
    """Adapters attach to whole layers of a whole model."""
    degrees = _degrees(config)
    if config.adapter.name is AdapterName.NONE or not degrees:
        return []
    return [
        f"adapter: {config.adapter.name.value} does not go with {_typed(degrees)}. Use {_without(degrees)}; "
        "zero2 and zero3 spread a model too."
    ]


def export(config: RunConfig) -> list[str]:
    """An adapter alone needs the weights that it was trained beside; 4-bit ones take none in."""
    adapter = config.adapter
    if adapter.name is AdapterName.LORA and not adapter.merge and config.model.init is Init.RANDOM:
        return [
            "adapter.merge: an adapter alone is of no use where the model's weights are in no file "
            "(model.init=random). Use adapter.merge=true."
        ]
    return []


def quantised(config: RunConfig, layout: Layout) -> list[str]:
    """Quantised weights are on a GPU, read from files, and whole."""
    name, bits = config.adapter.name.value, config.adapter.frozen_bits
    if not bits:
        return []
    complaints = _quantised_kernels(name, bits, layout)
    if config.parallel.zero_stage == 3:
        complaints.append(
            f"adapter: {name}'s {bits}-bit weights cannot be sharded by zero3. Use parallel=zero2 or adapter=lora."
        )
    if config.model.init is Init.RANDOM:
        complaints.append(
            f"adapter: {name} reads the weights of model.path. Use model.init=pretrained, or adapter=lora."
        )
    if config.adapter.merge:
        complaints.append(f"adapter.merge: {bits}-bit weights cannot take an adapter in. Use adapter.merge=false.")
    return complaints


def _quantised_kernels(name: str, bits: int, layout: Layout) -> list[str]:
    if layout.device == "cpu":
        return [f"adapter: {name} computes with {bits}-bit weights, which needs a GPU. Use adapter=lora on a CPU."]
    if find_spec("bitsandbytes") is None:
        return [f"adapter: {name} needs bitsandbytes. Install it with `pip install bitsandbytes`, or use adapter=lora."]
    return []


def _degrees(config: RunConfig) -> dict[str, int]:
    """The degrees that split a layer, the rows or the list of layers."""
    degrees = {name: getattr(config.parallel, name) for name in ("tensor", "pipeline", "sequence")}
    return {name: degree for name, degree in degrees.items() if degree > 1}


def _typed(degrees: dict[str, int]) -> str:
    return " and ".join(f"parallel.{name}={degree}" for name, degree in degrees.items())


def _without(degrees: dict[str, int]) -> str:
    return " ".join(f"parallel.{name}=1" for name in degrees)
