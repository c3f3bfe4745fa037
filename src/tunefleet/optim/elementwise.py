"""Elementwise optimizers: the base of our own, with one update of every weight that has a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class ElementwiseOptimizer(Optimizer):
    """Updates weights one by one and element by element, so that a shard of ZeRO's is updated as the whole would be."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        assert closure is None, "no caller evaluates a loss in here"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.update(weight, weight.grad, group)

    def update(self, weight: Tensor, gradient: Tensor, settings: dict[str, Any]) -> None:
        """Changes `weight` in place."""
        raise NotImplementedError

    def state_tensor(self, weight: Tensor, name: str) -> Tensor:
        """The state `name` of a weight, zeros at first."""
        state = self.state[weight]
        if name not in state:
            state[name] = torch.zeros_like(weight)
        tensor: Tensor = state[name]
        return tensor
