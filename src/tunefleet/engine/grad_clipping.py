"""Gradient clipping by the global norm, where a rank has a part of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from tunefleet.engine.group import ProcessGroup
from tunefleet.libraries.deepspeed_private import is_repeated, is_tensor_sharded
from tunefleet.plan.processes.layout import Layout


def clip_global_norm(
    weights: Iterable[nn.Parameter], max_norm: float | None, layout: Layout, group: ProcessGroup
) -> float:
    """Clips the gradient to `max_norm`, in place; returns its norm before that. Every rank must call it."""
    with_gradient = [weight for weight in weights if weight.grad is not None]
    if layout.replicas == group.size:
        norm = _norm(with_gradient)
    else:
        square = group.total([_square(with_gradient, layout)])[0]
        norm = torch.tensor(math.sqrt(square / layout.data_parallel))
    if max_norm and not norm <= max_norm:  # below it torch would multiply by one
        clip_grads_with_norm_(with_gradient, max_norm, norm)
    return float(norm)


def _square(weights: list[nn.Parameter], layout: Layout) -> float:
    """What this rank adds to the square: all of its shards, its part of what the tensor-parallel ranks repeat.

    Of a tied weight, which two stages of a pipeline hold, one copy counts.
    """
    counted = [weight for weight in weights if not is_repeated(weight)]
    shards = [weight for weight in counted if is_tensor_sharded(weight)]
    repeated = [weight for weight in counted if not is_tensor_sharded(weight)]
    return float(_norm(shards)) ** 2 + float(_norm(repeated)) ** 2 / layout.tensor


def _norm(weights: list[nn.Parameter]) -> Tensor:
    return get_total_norm([weight.grad for weight in weights if weight.grad is not None])
