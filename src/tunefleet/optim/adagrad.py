"""Adagrad: steps divided by the root of the sum of all squared gradients (Duchi et al., 2011)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tunefleet.optim.elementwise import ElementwiseOptimizer


class Adagrad(ElementwiseOptimizer):
    """As torch.optim.Adagrad, which DeepSpeed's ZeRO cannot be given.

    It builds torch's anew over its shards, as one group: weight decay then falls on biases and norms too, and the
    learning rate that we set at every step is never seen.
    """

    def __init__(self, params: Any, lr: float, eps: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def update(self, weight: Tensor, gradient: Tensor, settings: dict[str, Any]) -> None:
        """Changes `weight` in place."""
        gradient = gradient.add(weight, alpha=settings["weight_decay"])
        total = self.state_tensor(weight, "sum")
        total.addcmul_(gradient, gradient)
        weight.addcdiv_(gradient, total.sqrt().add_(settings["eps"]), value=-settings["lr"])
