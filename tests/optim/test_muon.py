"""Does Muon take the hidden matrices, AdamW the rest, and do both go on from a saved state?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim import Muon as MatrixMuon

from tests.shared import TINY, tiny_model
from tunefleet.config.optimizer import OptimizerConfig, OptimizerName
from tunefleet.optim.build_optimizer import build_optimizer
from tunefleet.optim.muon import hidden_matrices

torch.set_num_threads(1)
CONFIG = OptimizerConfig(name=OptimizerName.MUON, lr=0.01, momentum=0.95, weight_decay=0.1)
OUTSIDE = ("embed", "wte", "wpe", "lm_head", "norm", "ln_", "bias")


def gradients(model: nn.Module, seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=drawn)


@pytest.mark.parametrize("family", tuple(TINY))
@pytest.mark.parametrize("tied", [True, False])
def test_hidden_matrices_are_neither_embeddings_nor_head_nor_vectors(family: str, tied: bool) -> None:
    model = tiny_model(family, tie_word_embeddings=tied)
    matrices = hidden_matrices(model)
    names = {name for name, weight in model.named_parameters() if id(weight) in matrices}
    assert len(names) >= 8
    assert not [name for name in names if any(layer in name for layer in OUTSIDE)]
    remaining = [weight for weight in model.parameters() if id(weight) not in matrices]
    assert all(weight.ndim == 1 or min(weight.shape) > 1 for weight in remaining)


def test_each_part_is_torchs_own() -> None:
    """Two optimizers of torch, side by side, on a copy of the model."""
    model, reference = tiny_model("llama", tie_word_embeddings=False), tiny_model("llama", tie_word_embeddings=False)
    reference.load_state_dict(model.state_dict())
    inside = hidden_matrices(reference)
    matrices = [weight for weight in reference.parameters() if id(weight) in inside]
    decayed = [reference.lm_head.weight]
    spared = [w for w in reference.parameters() if id(w) not in inside and w is not reference.lm_head.weight]
    parts: list[torch.optim.Optimizer] = [
        MatrixMuon(matrices, lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}], lr=0.01,
              betas=CONFIG.betas, eps=CONFIG.eps),
    ]  # fmt: skip
    optimizer = build_optimizer(CONFIG, model)
    for seed in range(3):
        gradients(model, seed)
        gradients(reference, seed)
        optimizer.step()
        for part in parts:
            part.step()
    for (name, weight), expected in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert torch.equal(weight, expected), name


def test_it_goes_on_from_a_saved_state() -> None:
    one_process, first, second = (tiny_model("opt") for _ in range(3))
    for model in (first, second):
        model.load_state_dict(one_process.state_dict())
    optimizers = [build_optimizer(CONFIG, model) for model in (one_process, first)]
    for model, optimizer in zip((one_process, first), optimizers, strict=True):
        gradients(model, 0)
        optimizer.step()
    second.load_state_dict(first.state_dict())
    resumed = build_optimizer(CONFIG, second)
    resumed.load_state_dict(optimizers[1].state_dict())
    for model, optimizer in ((one_process, optimizers[0]), (second, resumed)):
        for group in optimizer.param_groups:
            group["lr"] = 0.02  # as the engine sets it
        gradients(model, 1)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(one_process.parameters(), second.parameters(), strict=True))


def test_the_learning_rate_of_the_groups_counts() -> None:
    model = tiny_model("opt")
    first_weights = [weight.detach().clone() for weight in model.parameters()]
    optimizer = build_optimizer(CONFIG, model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    gradients(model, 0)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(first_weights, model.parameters(), strict=True))
