"""How long is the gradient of the whole model, where a rank has a part of it, and how is it shortened?"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from tunefleet.engine.group import ProcessGroup
from tunefleet.engine.tensor_parallel import is_sharded
from tunefleet.plan.processes.layout import Layout


def clip_global_norm(weights: Iterable[nn.Parameter], most: float | None, layout: Layout, group: ProcessGroup) -> float:
    """Shortens the gradient to `most`, in place; returns its norm before that. Every rank must call it."""
    held = [weight for weight in weights if weight.grad is not None]
    if layout.replicas == group.size:
        norm = _norm(held)
    else:
        norm = torch.tensor(math.sqrt(group.total([_square(held, layout)])[0] / layout.data_parallel))
    clip_grads_with_norm_(held, most or math.inf, norm)
    return float(norm)


def _square(weights: list[nn.Parameter], layout: Layout) -> float:
    """What this rank adds to the square: all of what it alone holds, its share of what its peers hold as well.

    Of a tied weight, which lies on two stages of a pipeline, one copy counts.
    """
    counted = [weight for weight in weights if not getattr(weight, "ds_pipe_replicated", False)]
    parts = [weight for weight in counted if is_sharded(weight)]
    alike = [weight for weight in counted if not is_sharded(weight)]
    return float(_norm(parts)) ** 2 + float(_norm(alike)) ** 2 / layout.tensor


def _norm(weights: list[nn.Parameter]) -> Tensor:
    return get_total_norm([weight.grad for weight in weights if weight.grad is not None])
