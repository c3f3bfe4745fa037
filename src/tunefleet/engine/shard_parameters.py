"""Sharding parameters at the start: weights come to their device, and no rank holds more than it keeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tunefleet.engine.master_weights import MasterWeights
from tunefleet.libraries import deepspeed_private


def move_parameters(module: nn.Module, device: torch.device, dtype: torch.dtype, masters: MasterWeights) -> None:
    """Every weight of `module` on `device` in `dtype`; what is still in a file is read here."""
    for weight in module.parameters():
        values = weight.data
        if values.is_floating_point():
            weight.data = values.to(device, dtype, copy=True)  # or it would be a page of the file
        masters.keep(weight, values)


def move_buffers(module: nn.Module, device: torch.device) -> None:
    """Every buffer of `module` on `device`, as it is: DeepSpeed moves none of a model whose weights are sharded."""
    for part in module.modules():
        for name, values in part.named_buffers(recurse=False):
            setattr(part, name, values.to(device))  # torch keeps it a buffer


def shard_parameters(
    module: nn.Module, config: dict[str, Any], rank: int, dtype: torch.dtype, masters: MasterWeights
) -> None:
    """Leaves this rank its shard of every weight of `module`, in `dtype`. Collective.

    A weight that is still in a file is read here and forgotten, so the peak is the shard and one weight. Without
    this DeepSpeed would first turn the whole model into `dtype`, in every process.
    """
    shard = None
    for weight in module.parameters():
        values = weight.data
        weight.data = values.to(dtype)
        shard = shard or deepspeed_private.zero_3_sharder(config, dtype)
        shard(weight)
        masters.keep(weight, _own_values(weight, rank, values))


def _own_values(weight: nn.Parameter, rank: int, values: Tensor) -> Tensor:
    """What `rank` holds of `values`, filled up with zeros to the common size."""
    shard = deepspeed_private.own_shard(weight)
    assert shard is not None, "a weight that has just been sharded"
    size = shard.numel()
    own_values = values.flatten()[rank * size : (rank + 1) * size]
    padding = own_values.new_zeros(size - own_values.numel())
    return torch.cat([own_values, padding])  # a copy: a view would keep the whole weight
