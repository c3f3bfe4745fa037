"""LoRA targets: the trainable parameters beside frozen weights, and their number."""

from __future__ import annotations

from collections.abc import Iterable

from tunefleet.base.units import count
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.config.suggest import did_you_mean
from tunefleet.plan.families.architecture import Architecture

ALL_LINEAR = "all-linear"


def lora_parameters(architecture: Architecture, adapter: AdapterConfig) -> int:
    """Trainable parameters of the adapter: rank x (inputs + outputs) of every target, and DoRA's outputs.

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
    """The adapter as the user reads it, with its share of all parameters where these can be counted."""
    kind = " with DoRA" if adapter.dora else ""
    kind += f" ({adapter.frozen_bits}-bit weights)" if adapter.frozen_bits else ""
    description = f"LoRA of rank {adapter.rank}{kind} on {', '.join(adapter.targets)}"
    trainable = _counted(architecture, adapter)
    if not parameters or not trainable:
        return description
    total = parameters + trainable
    return f"{description}: {count(trainable)} of {count(total)} parameters are trainable ({trainable / total:.2%})"


def _counted(architecture: Architecture, adapter: AdapterConfig) -> int | None:
    try:
        return lora_parameters(architecture, adapter)
    except ValueError:
        return None
