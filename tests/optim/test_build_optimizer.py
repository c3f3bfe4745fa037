"""Which weights decay: never norms and biases, embeddings only when asked, each trainable weight once?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.shared import TINY, tiny_model
from tunefleet.config.optimizer import OptimizerConfig, OptimizerName
from tunefleet.optim.build_optimizer import build_optimizer, parameter_groups

torch.set_num_threads(1)

FAMILIES = tuple(TINY)
DECAY = 0.1
EMBEDDINGS = {"embed_tokens", "embed_positions", "wte", "wpe", "embed_in"}
"""Names of embedding modules in these families, written out: the code must find them by itself."""


def config(**changes: Any) -> OptimizerConfig:
    return OptimizerConfig(weight_decay=DECAY, **changes)


def names_of(model: nn.Module, group: dict[str, Any]) -> set[str]:
    ids = {id(weight) for weight in group["params"]}
    return {name for name, weight in model.named_parameters() if id(weight) in ids}


def split(model: nn.Module, **changes: Any) -> tuple[set[str], set[str]]:
    """Names of the weights that decay, and of those that do not."""
    groups = parameter_groups(model, config(**changes))
    parts: dict[float, set[str]] = {DECAY: set(), 0.0: set()}
    for group in groups:
        parts[group["weight_decay"]] |= names_of(model, group)
    return parts[DECAY], parts[0.0]


def is_embedding(name: str) -> bool:
    return name.split(".")[-2] in EMBEDDINGS


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("decay_embeddings", [False, True])
def test_norms_and_biases_never_decay(family: str, decay_embeddings: bool) -> None:
    decayed, _ = split(tiny_model(family), decay_embeddings=decay_embeddings)
    assert decayed
    assert not [name for name in decayed if name.endswith(".bias") or "norm" in name or ".ln_" in name]


@pytest.mark.parametrize("family", FAMILIES)
def test_matrices_decay(family: str) -> None:
    model = tiny_model(family)
    matrices = {name for name, weight in model.named_parameters() if weight.ndim == 2 and not is_embedding(name)}
    assert split(model)[0] == matrices
    assert len(matrices) >= 8


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("decay_embeddings", [False, True])
def test_embeddings_decay_only_when_asked(family: str, decay_embeddings: bool) -> None:
    model = tiny_model(family)
    embeddings = {name for name, _ in model.named_parameters() if is_embedding(name)}
    assert embeddings
    decayed, spared = split(model, decay_embeddings=decay_embeddings)
    assert embeddings <= (decayed if decay_embeddings else spared)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("decay_embeddings", [False, True])
def test_a_head_decays_as_an_embedding_only_where_it_is_one(tied: bool, decay_embeddings: bool) -> None:
    model = tiny_model("llama", tie_word_embeddings=tied)
    decayed = {
        id(w)
        for g in parameter_groups(model, config(decay_embeddings=decay_embeddings))
        for w in g["params"]
        if g["weight_decay"]
    }
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert (id(model.lm_head.weight) in decayed) == (decay_embeddings or not tied)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"tie_word_embeddings": False}], ids=str)
def test_every_trainable_weight_exactly_once(family: str, changes: dict[str, Any]) -> None:
    model = tiny_model(family, **changes)
    grouped = [id(weight) for group in parameter_groups(model, config()) for weight in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(weight) for weight in model.parameters()}


def test_frozen_weights_are_in_no_group() -> None:
    model = tiny_model("opt")
    for name, weight in model.named_parameters():
        weight.requires_grad = "layers.1." in name
    decayed, spared = split(model)
    assert decayed | spared == {name for name, _ in model.named_parameters() if "layers.1." in name}


def test_no_group_is_empty() -> None:
    model = tiny_model("opt")
    for weight in model.parameters():
        weight.requires_grad = weight.ndim == 1
    assert [group["weight_decay"] for group in parameter_groups(model, config())] == [0.0]


def test_adamw_has_the_configured_constants() -> None:
    optimizer = build_optimizer(config(lr=1e-3, betas=(0.8, 0.9), eps=1e-6), tiny_model("opt"))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [DECAY, 0.0]
    assert all((g["lr"], g["betas"], g["eps"]) == (1e-3, (0.8, 0.9), 1e-6) for g in optimizer.param_groups)


def test_sgd_has_the_configured_constants() -> None:
    optimizer = build_optimizer(config(name=OptimizerName.SGD, lr=0.5, momentum=0.9), tiny_model("opt"))
    assert isinstance(optimizer, torch.optim.SGD)
    assert all((group["lr"], group["momentum"]) == (0.5, 0.9) for group in optimizer.param_groups)


COUPLED = (OptimizerName.ADAM, OptimizerName.ADAGRAD)  # they divide the decay as any gradient
NEEDS_A_GPU = (OptimizerName.ADAMW_8BIT,)


@pytest.mark.parametrize("name", [name for name in OptimizerName if name not in COUPLED + NEEDS_A_GPU])
def test_without_gradient_only_decayed_weights_shrink(name: OptimizerName) -> None:
    """What the groups are for, seen in the weights after a step."""
    model = tiny_model("llama")
    first_weights = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    decayed, spared = split(model)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    build_optimizer(config(name=name, lr=0.5), model).step()
    after = dict(model.named_parameters())
    assert all(torch.allclose(after[key], first_weights[key] * (1 - 0.5 * DECAY)) for key in decayed)
    assert all(torch.equal(after[key], first_weights[key]) for key in spared)
