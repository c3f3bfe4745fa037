"""Resharding: what any ZeRO stage and number of ranks saved becomes the state of this engine, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunefleet.base.errors import RunError
from tunefleet.engine import saved_state
from tunefleet.engine.saved_state import SavedState
from tunefleet.libraries import deepspeed_private


@dataclass(frozen=True)
class _Shard:
    """Where elements [first, first + size) of the flat weight `name` are in this rank's `flat` tensor: from `start`."""

    name: str
    weight: nn.Parameter
    flat: Tensor
    start: int
    first: int
    size: int


def load(engine: Any, stage: int, names: Sequence[str], shards: Path) -> None:
    """Gives a new engine the weights and optimizer states in `shards`. Every rank must call it.

    `names` are the optimizer's weights, in its order. Raises `RunError`, on every rank, where they are others than
    were saved.
    """
    saved = saved_state.read(shards, names)
    if different := saved.parameters.keys() ^ set(names):
        raise RunError(f"{shards}: holds other trainable weights than the model has now: {min(different)}.")
    if not saved.is_elementwise and (stage or not saved.is_whole):
        raise RunError(
            f"{shards}: the states of this optimizer cannot be sharded otherwise. Resume with the number of processes "
            "and the parallel group that saved them."
        )
    with torch.no_grad(), deepspeed_private.partitioned(engine):
        optimizer = deepspeed_private.client_optimizer(engine)
        for shard in _shards(engine, stage):
            parameter = saved.parameters[shard.name]
            _fill(shard.flat, shard, parameter.values)
            state = optimizer.state[shard.flat]
            for key, parts in parameter.states.items():
                state.setdefault(key, _empty_state(shard.flat, parts[0].dtype))
                _fill(state[key], shard, parts)
            state.update(beside(shard.flat, parameter.scalars, optimizer.defaults))
        _update_weights(engine, stage, saved)
    for name, buffer in engine.module.named_buffers():
        if name in saved.buffers:
            buffer.copy_(saved.buffers[name])
    engine.skipped_steps = saved.skipped_steps
    if saved.loss_scale is not None:
        deepspeed_private.set_loss_scale(engine, saved.loss_scale)


def _shards(engine: Any, stage: int) -> Iterator[_Shard]:
    """This rank's parts of all trainable weights."""
    for name, weight in engine.module.named_parameters():
        if not weight.requires_grad:
            continue
        if stage == 0:
            yield _Shard(name, weight, weight, 0, 0, weight.numel())
        elif stage == 3:
            flat, start, part, rank = deepspeed_private.shard_place(engine, weight)
            first = part * rank
            yield _Shard(name, weight, flat, start, first, min(part, deepspeed_private.whole_size(weight) - first))
        elif (shard := deepspeed_private.partition_place(engine, weight)) is not None:
            yield _Shard(name, weight, *shard)


def _fill(flat: Tensor, shard: _Shard, parts: Sequence[Tensor]) -> None:
    """Copies the elements of `shard` from `parts`, one behind the other; nothing else of them is read."""
    target, begin = flat.detach().view(-1), 0
    for part in parts:
        low, high = max(shard.first, begin), min(shard.first + shard.size, begin + part.numel())
        if low < high:
            offset = shard.start + low - shard.first
            target[offset : offset + high - low].copy_(part[low - begin : high - begin])
        begin += part.numel()


def _empty_state(flat: Tensor, saved: torch.dtype) -> Tensor:
    """Zeros of the shape of `flat`; integers stay integers."""
    return torch.zeros_like(flat.detach(), dtype=flat.dtype if saved.is_floating_point else saved)


def beside(weight: Tensor, scalars: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Scalars of its own for a tensor of an optimizer, which counts its steps in them.

    `settings` are those of the optimizer. torch's fused and capturable kernels read them in fp32 on the device of
    `weight`, and all others on the CPU, as `Optimizer.load_state_dict` leaves them.
    """
    on_device = settings.get("fused") or settings.get("capturable")
    target: dict[str, Any] = {"device": weight.device, "dtype": torch.float32} if on_device else {}
    return {
        key: value.to(**target, copy=True) if torch.is_tensor(value) else value  # the file's memory is not written
        for key, value in scalars.items()
    }


def _update_weights(engine: Any, stage: int, saved: SavedState) -> None:
    """The weights that are computed with, beside their fp32 masters."""
    if stage == 0:
        return
    for name, weight in engine.module.named_parameters():
        if not weight.requires_grad:
            continue
        shard = deepspeed_private.own_shard(weight)
        target = weight.detach() if shard is None else shard.detach()
        rank = 0 if shard is None else deepspeed_private.shard_place(engine, weight)[3]
        size = target.numel() if shard is None else deepspeed_private.whole_size(weight)
        first = rank * target.numel()
        part = _Shard(name, weight, target, 0, first, max(0, min(target.numel(), size - first)))
        _fill(target, part, saved.parameters[name].values)
