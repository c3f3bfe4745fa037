"""Is our Adagrad torch's?"""

from __future__ import annotations

import torch
from torch import nn

from tunefleet.optim.adagrad import Adagrad

torch.set_num_threads(1)


def test_it_follows_torchs() -> None:
    torch.manual_seed(0)
    weight, reference = (nn.Parameter(torch.ones(5, 3)) for _ in range(2))
    optimizers = (
        Adagrad([{"params": [weight], "weight_decay": 0.1}], lr=0.3, eps=1e-10),
        torch.optim.Adagrad([reference], lr=0.3, eps=1e-10, weight_decay=0.1),
    )
    for _ in range(5):
        weight.grad = torch.randn(5, 3)
        reference.grad = weight.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(weight, reference)
