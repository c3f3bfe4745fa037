"""Lion: the sign of an interpolated momentum (Chen et al., Symbolic Discovery of Optimization Algorithms, 2023)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class Lion(Optimizer):
    """One moment for each weight, and steps of one size: sign(b1 m + (1 - b1) g), with decoupled weight decay.

    A weight that never had a gradient stays where it is: sign(0) is 0. DeepSpeed's CPU Lion takes copysign, and
    moves embeddings of tokens that the data do not contain by the learning rate at every step.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        assert closure is None, "no caller evaluates a loss in here"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        moment = state.setdefault("exp_avg", torch.zeros_like(weight))
        first, second = group["betas"]
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(moment.lerp(gradient, 1 - first).sign_(), alpha=-group["lr"])
        moment.lerp_(gradient, 1 - second)
