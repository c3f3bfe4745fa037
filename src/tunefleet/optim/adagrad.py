"""Adagrad: steps divided by the root of the sum of all squared gradients (Duchi et al., 2011)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class Adagrad(Optimizer):
    """As torch.optim.Adagrad, which DeepSpeed's ZeRO cannot be given.

    It builds torch's anew over its shards, as one group: weight decay then falls on biases and norms too, and the
    learning rate that we set at every step is never seen.
    """

    def __init__(self, params: Any, lr: float, eps: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        assert closure is None, "no caller evaluates a loss in here"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        gradient = gradient.add(weight, alpha=group["weight_decay"])
        total = self.state[weight].setdefault("sum", torch.zeros_like(weight))
        total.addcmul_(gradient, gradient)
        weight.addcdiv_(gradient, total.sqrt().add_(group["eps"]), value=-group["lr"])
