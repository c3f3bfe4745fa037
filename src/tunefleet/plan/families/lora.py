"""Which parameters learn beside frozen weights: how many they are, and with what they cannot be combined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from importlib.util import find_spec

from tunefleet.base.units import count
from tunefleet.config import RunConfig
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.config.model import Init
from tunefleet.config.suggest import did_you_mean
from tunefleet.plan.families.architecture import Architecture

ALL_LINEAR = "all-linear"


def lora_parameters(architecture: Architecture, adapter: AdapterConfig) -> int:
    """Parameters of the adapter that learn: rank x (inputs + outputs) of every target, and DoRA's outputs.

    0 without an adapter. Raises ValueError for a family that cannot be counted.
    """
    if adapter.name is AdapterName.NONE:
        return 0
    layers = architecture.linears
    sizes = [layers[name] for name in targeted(layers, adapter.targets)]
    return sum(adapter.rank * (inputs + outputs) + outputs * adapter.dora for inputs, outputs in sizes)


def targeted(layers: Iterable[str], targets: tuple[str, ...]) -> list[str]:
    """The full names of `layers` whose end is one of `targets`; all of them for `all-linear`."""
    if targets == (ALL_LINEAR,):
        return list(layers)
    return [name for name in layers if any(f".{name}".endswith(f".{target}") for target in targets)]


def unknown_targets(layers: Iterable[str], targets: tuple[str, ...]) -> list[str]:
    """A complaint for every target that is the end of no layer's name."""
    names = list(layers)
    ends = sorted({name.rsplit(".", 1)[-1] for name in names})
    return [
        f"adapter.targets: {target} is no linear layer of this model.{did_you_mean(target, [*ends, ALL_LINEAR])}"
        for target in targets
        if targets != (ALL_LINEAR,) and not targeted(names, (target,))
    ]


def exports_adapter_only(adapter: AdapterConfig) -> bool:
    """Whether an export holds the adapter's weights and no others."""
    return adapter.name is not AdapterName.NONE and not adapter.merge


def summary(adapter: AdapterConfig, architecture: Architecture, parameters: int | None) -> str:
    """The adapter in words for a person, with its share of all parameters where these can be counted."""
    kind = " with DoRA" if adapter.dora else ""
    kind += " (4-bit weights)" if adapter.name is AdapterName.QLORA else ""
    said = f"LoRA of rank {adapter.rank}{kind} on {', '.join(adapter.targets)}"
    learning = _counted(architecture, adapter)
    if not parameters or not learning:
        return said
    whole = parameters + learning
    return f"{said}: {count(learning)} of {count(whole)} parameters learn ({learning / whole:.2%})"


def _counted(architecture: Architecture, adapter: AdapterConfig) -> int | None:
    try:
        return lora_parameters(architecture, adapter)
    except ValueError:
        return None


def complaints(config: RunConfig, device: str, architecture: Architecture) -> list[str]:
    """What cannot work, with the nearest setting that can."""
    if config.adapter.name is AdapterName.NONE:
        return _unused(config.adapter) + _frozen(config)
    found = _targets(config.adapter, architecture) + _together(config)
    return found + (_quantised(config, device) if config.adapter.name is AdapterName.QLORA else [])


def _unused(adapter: AdapterConfig) -> list[str]:
    default = AdapterConfig()
    changed = [f.name for f in fields(adapter) if getattr(adapter, f.name) != getattr(default, f.name)]
    return [f"adapter.{name}: not used, because there is no adapter. Use adapter=lora." for name in changed]


def _frozen(config: RunConfig) -> list[str]:
    found = []
    if {"*", "**"} & set(config.model.freeze):
        found.append(
            "model.freeze: * freezes every weight, and nothing learns. Name fewer, or use adapter=lora model.freeze=[]."
        )
    if config.model.freeze and (split := _split(config)):
        found.append(f"model.freeze: names of weights change with {split}. Use {_unsplit(config)}, or freeze nothing.")
    return found


def _targets(adapter: AdapterConfig, architecture: Architecture) -> list[str]:
    if not adapter.targets or (ALL_LINEAR in adapter.targets and len(adapter.targets) > 1):
        return [
            f"adapter.targets: {list(adapter.targets)} is not allowed. Allowed: [{ALL_LINEAR}], or names of layers."
        ]
    try:
        return unknown_targets(architecture.linears, adapter.targets)
    except ValueError:
        return []  # the model itself will say


def _together(config: RunConfig) -> list[str]:
    found = []
    if split := _split(config):
        found.append(
            f"adapter: {config.adapter.name.value} does not go with {split}. Use {_unsplit(config)}; "
            "zero2 and zero3 spread a model too."
        )
    if config.model.freeze:
        found.append("model.freeze: not used, because an adapter freezes every weight of the model. Leave it out.")
    if not config.adapter.merge and config.model.init is Init.RANDOM and config.adapter.name is AdapterName.LORA:
        found.append(
            "adapter.merge: an adapter alone is of no use where the model's weights are in no file "
            "(model.init=random). Use adapter.merge=true."
        )
    return found


def _split(config: RunConfig) -> str:
    """The degrees that split a layer or the list of layers, as they are typed; empty where there are none."""
    return " and ".join(f"parallel.{name}={degree}" for name, degree in _degrees(config).items())


def _unsplit(config: RunConfig) -> str:
    """The same without a split, as it is typed."""
    return " ".join(f"parallel.{name}=1" for name in _degrees(config))


def _degrees(config: RunConfig) -> dict[str, int]:
    degrees = {name: getattr(config.parallel, name) for name in ("tensor", "pipeline", "sequence")}
    return {name: degree for name, degree in degrees.items() if degree > 1}


def _quantised(config: RunConfig, device: str) -> list[str]:
    found = []
    if device == "cpu":
        found.append("adapter: qlora computes with 4-bit weights, which needs a GPU. Use adapter=lora on a CPU.")
    elif find_spec("bitsandbytes") is None:
        found.append(
            "adapter: qlora needs bitsandbytes. Install it with `pip install bitsandbytes`, or use adapter=lora."
        )
    if config.parallel.zero_stage == 3:
        found.append(
            "adapter: qlora's 4-bit weights cannot be shared out by zero3. Use parallel=zero2 or adapter=lora."
        )
    if config.model.init is Init.RANDOM:
        found.append("adapter: qlora reads the weights of model.path. Use model.init=pretrained, or adapter=lora.")
    if config.adapter.merge:
        found.append("adapter.merge: 4-bit weights cannot take an adapter in. Use adapter.merge=false.")
    return found
