"""Lion: the sign of an interpolated momentum (Chen et al., Symbolic Discovery of Optimization Algorithms, 2023)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tunefleet.optim.elementwise import ElementwiseOptimizer


class Lion(ElementwiseOptimizer):
    """One moment for each weight, and steps of one size: sign(b1 m + (1 - b1) g), with decoupled weight decay.

    A weight that never had a gradient stays where it is: sign(0) is 0. DeepSpeed's CPU Lion takes copysign, and
    moves embeddings of tokens that the data do not contain by the learning rate at every step.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    def update(self, weight: Tensor, gradient: Tensor, settings: dict[str, Any]) -> None:
        """Changes `weight` in place."""
        moment, (first, second) = self.state_tensor(weight, "exp_avg"), settings["betas"]
        weight.mul_(1 - settings["lr"] * settings["weight_decay"])
        weight.add_(moment.lerp(gradient, 1 - first).sign_(), alpha=-settings["lr"])
        moment.lerp_(gradient, 1 - second)
