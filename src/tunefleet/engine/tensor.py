"""What tensor peers know only together: whole weights, and the length of the whole gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from deepspeed.utils import groups
from torch import Tensor, distributed, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from tunefleet.plan.plan import Plan
from tunefleet.plan.tensor import dimension


def expect_divided(parameters: Mapping[str, nn.Parameter], plan: Plan) -> None:
    """Fails where DeepSpeed divides other weights than the plan says: peers would add up what is not theirs."""
    divided = {name for name, parameter in parameters.items() if getattr(parameter, _MARK, False)}
    expected = {name for name in parameters if _dimension(plan, name) is not None}
    assert divided == expected, f"DeepSpeed divides other weights than the plan: {sorted(divided ^ expected)}"


def whole(weights: Mapping[str, Tensor], plan: Plan) -> dict[str, Tensor]:
    """The weights of the whole model, on the CPU of every peer; a collective of the peers.

    DeepSpeed's own way (GatherReplacedLayerParams) gives a weight other memory, and in bf16 it learns no more.
    """
    return {name: _joined(weight.detach(), _dimension(plan, name)) for name, weight in weights.items()}


def _joined(weight: Tensor, dim: int | None) -> Tensor:
    if dim is None:
        return weight.cpu()
    parts = [torch.empty_like(weight, memory_format=torch.contiguous_format) for _ in range(_peers().size())]
    distributed.all_gather(parts, weight.contiguous(), group=_peers())
    return torch.cat([part.cpu() for part in parts], dim)


def clip(parameters: Mapping[str, nn.Parameter], plan: Plan) -> float:
    """Shortens the gradient of the whole model to `train.clip`, in place; returns its norm before that.

    Peers add up the squares of what they divide; what each of them holds whole counts once.
    """
    gradients: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            gradients[_dimension(plan, name) is not None].append(parameter.grad)
    norm = get_total_norm(gradients[False])
    if plan.layout.tensor > 1:
        squares = get_total_norm(gradients[True]).square()
        distributed.all_reduce(squares, group=_peers())
        norm = (norm.square() + squares).sqrt()
    clip_grads_with_norm_(parameters.values(), plan.config.train.clip or math.inf, norm)
    return float(norm)


def forget() -> None:
    """Ends DeepSpeed's memory of who is whose peer: the next engine of this process may be laid out otherwise."""
    groups._release_process_group_references()


def _dimension(plan: Plan, name: str) -> int | None:
    if plan.layout.tensor == 1:
        return None
    return dimension(str(plan.sources.architecture.get("model_type")), name)


def _peers() -> Any:
    return groups.get_tensor_model_parallel_group()


_MARK = "tensor_model_parallel"  # DeepSpeed's, on the weights that it divides
