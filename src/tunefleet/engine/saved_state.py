"""Saved state: weights and optimizer states by name, whatever ZeRO stage and number of ranks saved them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tunefleet.base.errors import RunError
from tunefleet.engine import shards

_MODEL = "mp_rank_00_model_states.pt"
_OF_OTHER_COPIES = ("mp_rank_0[1-9]*", "mp_rank_[1-9]*", "*mp_rank_0[1-9]_optim*", "layer_*")


@dataclass
class SavedParameter:
    """A trainable weight: its fp32 values, and its states of the same shape, each in flat parts by rank.

    `scalars` are what the optimizer keeps besides, as its number of steps. The last part may end with padding.
    """

    values: list[Tensor] = field(default_factory=list)
    states: dict[str, list[Tensor]] = field(default_factory=dict)
    scalars: dict[str, Any] = field(default_factory=dict)

    def add(self, flat: Tensor, state: Mapping[str, Any], start: int, size: int) -> None:
        """Takes the part [start, start + size) of a rank's `flat` values and of the states of `flat`."""
        self.values.append(flat.flatten()[start : start + size])
        for key, value in state.items():
            if torch.is_tensor(value) and value.ndim and value.numel() == flat.numel():
                self.states.setdefault(key, []).append(value.flatten()[start : start + size])
            else:
                self.scalars[key] = value


@dataclass(frozen=True)
class SavedState:
    """Everything of a checkpoint that no other shape can read from DeepSpeed's files as they are.

    `loss_scale` is fp16's, None elsewhere; `buffers` by name are what a model keeps beside its weights. `is_whole` is
    whether no weight was sharded.
    """

    parameters: Mapping[str, SavedParameter]
    buffers: Mapping[str, Tensor]
    skipped_steps: int
    loss_scale: float | None
    is_whole: bool

    @property
    def is_elementwise(self) -> bool:
        """Whether all states of the optimizer have the shape of their weights, or none."""
        scalars = (value for parameter in self.parameters.values() for value in parameter.scalars.values())
        return not any(torch.is_tensor(value) and value.ndim for value in scalars)


def read(folder: Path, names: Sequence[str]) -> SavedState:
    """The state in `folder` (DeepSpeed's files); `names` are the optimizer's weights, in its order.

    Tensors are mapped into memory, so nothing is read before it is used. Raises `RunError` for what tensor-parallel or
    pipeline ranks saved: each holds a part of the model.
    """
    if any(True for pattern in _OF_OTHER_COPIES for _ in folder.glob(pattern)):
        raise RunError(
            f"{folder}: saved by tensor-parallel or pipeline ranks, and only as many with the same parallel group can "
            "resume. An export has the whole model: `tunefleet export`, then train.start_from."
        )
    optimizer_files = _by_rank(folder, "optim_states")
    model_files = [folder / _MODEL] if (folder / _MODEL).exists() else _by_rank(folder, "model_states")
    if not model_files:
        raise RunError(f"{folder}: holds no file of a model that could be read.")
    model = shards.read(model_files[0])
    states = [shards.read(file)["optimizer_state_dict"] for file in optimizer_files]
    if not states:
        parameters = _of_stage_0(model, names)
    elif "fp32_flat_groups" in states[0]:
        parameters = _of_stage_3(states, model["param_shapes"])
    else:
        parameters = _of_partitions(states)
    buffers = {name: model["module"][name] for name in model.get("buffer_names", ()) if name in model["module"]}
    return SavedState(parameters, buffers, int(model["skipped_steps"]), _loss_scale(model, states), not states)


def _by_rank(folder: Path, kind: str) -> list[Path]:
    """The files of all data-parallel ranks, in their order."""
    files = {int(path.name.split("zero_pp_rank_")[1].split("_")[0]): path for path in folder.glob(f"*zero_*_{kind}.pt")}
    return [files[rank] for rank in sorted(files)]


def _of_stage_0(model: Mapping[str, Any], names: Sequence[str]) -> dict[str, SavedParameter]:
    """torch's own: whole weights by name, states by their number."""
    states = model["optimizer"]["state"]
    parameters = {}
    for number, name in enumerate(names):
        weight = model["module"][name]
        parameters[name] = SavedParameter()
        parameters[name].add(weight, states.get(number, {}), 0, weight.numel())
    return parameters


def _of_partitions(states: Sequence[Mapping[str, Any]]) -> dict[str, SavedParameter]:
    """Stages 1 and 2: each group of weights is one flat tensor, of which every rank has a slice; names are given."""
    parameters: dict[str, SavedParameter] = {}
    for state in states:
        of_groups = state["base_optimizer_state"]["state"]
        for number, addresses in enumerate(state["param_slice_mappings"]):
            flat = state["single_partition_of_fp32_groups"][number]
            for name, address in addresses.items():
                parameter = parameters.setdefault(name, SavedParameter())
                parameter.add(flat, of_groups.get(number, {}), address.start, address.numel)
    return parameters


def _of_stage_3(
    states: Sequence[Mapping[str, Any]], shapes: Sequence[Mapping[str, torch.Size]]
) -> dict[str, SavedParameter]:
    """Every rank has as large a part of each weight, filled up with zeros; a flat tensor holds those of a sub-group."""
    parameters: dict[str, SavedParameter] = {}
    for state in states:
        of_groups = state["optimizer_state_dict"]["state"]
        for number, group in enumerate(shapes):
            flat = state["fp32_flat_groups"][number]
            for name, start, size in _places(group, len(states)):
                parameter = parameters.setdefault(name, SavedParameter())
                parameter.add(flat, of_groups.get(number, {}), start, size)
    return parameters


def _places(group: Mapping[str, torch.Size], ranks: int) -> Iterator[tuple[str, int, int]]:
    """(name, start, size) of each weight in a rank's flat tensor."""
    sizes = [-(-shape.numel() // ranks) for shape in group.values()]
    return zip(group, accumulate([0, *sizes]), sizes, strict=False)


def _loss_scale(model: Mapping[str, Any], states: Sequence[Mapping[str, Any]]) -> float | None:
    """fp16's: of DeepSpeed's scaler, or of torch's at stage 0."""
    scaler = states[0].get("loss_scaler") if states else None
    if scaler is not None:
        return float(scaler.cur_scale)
    saved = model.get("gradient_scaler")
    return float(saved["scale"]) if saved else None
