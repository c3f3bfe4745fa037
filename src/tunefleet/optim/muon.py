"""Muon: for hidden matrices, with AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim import Muon as MatrixMuon


class Muon(Optimizer):
    """Orthogonalised momentum (Jordan et al., https://kellerjordan.github.io/posts/muon/, 2024).

    Groups with `matrices` true go to torch's Muon, others to torch's AdamW. Updates of a matrix are scaled by
    0.2 sqrt(longer side), which gives them the size of AdamW's (Liu et al., Muon is Scalable, 2025): one learning
    rate serves both.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, momentum: float, betas: tuple[float, float], eps: float
    ) -> None:
        super().__init__(groups, {"lr": lr})
        muon_groups, adamw_groups = self._groups(True), self._groups(False)
        self._parts: dict[bool, Optimizer] = {}
        if muon_groups:
            self._parts[True] = MatrixMuon(muon_groups, lr=lr, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        if adamw_groups:
            self._parts[False] = AdamW(adamw_groups, lr=lr, betas=betas, eps=eps)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        assert closure is None, "no caller evaluates a loss in here"
        for matrices, part in self._parts.items():  # loading a checkpoint has replaced our groups and states
            part.param_groups, part.state = self._groups(matrices), self.state
            part.step()

    def _groups(self, matrices: bool) -> list[dict[str, Any]]:
        return [group for group in self.param_groups if group["matrices"] is matrices]


def hidden_matrices(model: nn.Module) -> set[int]:
    """Ids of the two-dimensional weights between the embeddings and the output head."""
    ends: list[nn.Module] = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    ends += [head for module in model.modules() if (head := _head(module)) is not None]
    outside = {id(weight) for module in ends for weight in module.parameters()}
    return {id(weight) for weight in model.parameters() if weight.ndim == 2 and id(weight) not in outside}


def _head(module: nn.Module) -> nn.Module | None:
    head = getattr(module, "get_output_embeddings", lambda: None)()
    return head if isinstance(head, nn.Module) else None
