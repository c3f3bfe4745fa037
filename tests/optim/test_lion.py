"""Does Lion do what its paper says, and leave alone what has no gradient?"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tunefleet.optim.lion import Lion

torch.set_num_threads(1)
LR, BETAS, DECAY = 0.1, (0.9, 0.99), 0.5


def weight(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def test_the_formula_by_hand() -> None:
    """Chen et al., 2023, algorithm 2: c = b1 m + (1 - b1) g; w -= lr (sign(c) + decay w); m = b2 m + (1 - b2) g."""
    moved, w, m = weight(1.0, -2.0, 0.5), [1.0, -2.0, 0.5], [0.0, 0.0, 0.0]
    optimizer = Lion([{"params": [moved], "weight_decay": DECAY}], LR, BETAS)
    for gradient in ([0.3, -1.0, 0.0], [-0.001, 5.0, 2.0], [0.0, 0.0, -9.0]):
        moved.grad = torch.tensor(gradient)
        optimizer.step()
        for i, g in enumerate(gradient):
            c = BETAS[0] * m[i] + (1 - BETAS[0]) * g
            w[i] -= LR * ((c > 0) - (c < 0) + DECAY * w[i])
            m[i] = BETAS[1] * m[i] + (1 - BETAS[1]) * g
    torch.testing.assert_close(moved.detach(), torch.tensor(w))


class CopySign(Lion):
    """What DeepSpeed's CPU Lion computes: the sign of zero is plus."""

    def update(self, weight: torch.Tensor, gradient: torch.Tensor, settings: dict[str, Any]) -> None:
        direction = torch.copysign(torch.ones_like(weight), gradient)
        weight.add_(direction, alpha=-settings["lr"])


def unseen_row_moves(kind: type[Lion]) -> bool:
    """An embedding whose row 2 no token asks for."""
    table = nn.Embedding(3, 4)
    first_table = table.weight.detach().clone()
    table(torch.tensor([0, 1])).sum().backward()  # type: ignore[no-untyped-call]
    kind(table.parameters(), LR, BETAS).step()
    assert not torch.equal(table.weight[:2], first_table[:2])
    return not torch.equal(table.weight[2], first_table[2])


def test_a_row_without_gradient_stays() -> None:
    assert not unseen_row_moves(Lion)


def test_control_a_sign_that_is_never_zero_moves_it() -> None:
    assert unseen_row_moves(CopySign)


def test_a_weight_without_any_gradient_stays() -> None:
    unused = weight(1.0, 2.0)
    Lion([{"params": [unused], "weight_decay": DECAY}], LR, BETAS).step()
    assert unused.tolist() == [1.0, 2.0]
