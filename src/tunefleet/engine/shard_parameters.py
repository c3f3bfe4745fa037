"""How weights come to their device at the start: one after another, so that no rank holds more than it keeps."""

from __future__ import annotations

from typing import Any

import deepspeed
import torch
from torch import Tensor, nn

from tunefleet.engine.master_weights import MasterWeights


def move_parameters(module: nn.Module, device: torch.device, dtype: torch.dtype, masters: MasterWeights) -> None:
    """Every weight of `module` on `device` in `dtype`; what still lies in a file is read here."""
    for weight in module.parameters():
        given = weight.data
        if given.is_floating_point():
            weight.data = given.to(device, dtype, copy=True)  # or it would be a page of the file
        masters.keep(weight, given)


def shard_parameters(
    module: nn.Module, config: dict[str, Any], rank: int, dtype: torch.dtype, masters: MasterWeights
) -> None:
    """Leaves this rank its share of every weight of `module`, in `dtype`. Collective.

    A weight that still lies in a file is read here and forgotten, so the peak is the share and one weight. Without
    this DeepSpeed would first turn the whole model into `to`, in every process.
    """
    convert = None
    for weight in module.parameters():
        given = weight.data
        weight.data = given.to(dtype)
        convert = convert or _first(config, dtype)
        convert(param_list=[weight])
        masters.keep(weight, _share(weight, rank, given))


def _first(config: dict[str, Any], dtype: torch.dtype) -> Any:
    """DeepSpeed's function that shares weights out, which it hangs on those that it has shared out already."""
    seed: Any = nn.Linear(1, 1, bias=False)
    deepspeed.zero.Init(module=seed, config_dict_or_path=config, dtype=dtype)
    return seed.weight.convert_to_zero_parameters


def _share(weight: Any, rank: int, values: Tensor) -> Tensor:
    """What `rank` holds of `values`, filled up with zeros to the common size."""
    size = weight.ds_tensor.numel()
    own = values.flatten()[rank * size : (rank + 1) * size]
    return torch.cat([own, own.new_zeros(size - own.numel())])  # a copy: a view would keep the whole weight
