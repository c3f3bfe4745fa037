"""Is the noise on embeddings transformers' own, in training alone?"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from transformers.integrations.neftune import activate_neftune

from tests.shared import tiny_model
from tunefleet.model.neftune import add_embedding_noise

TOKENS = torch.tensor([[5, 17, 3, 44], [9, 31, 2, 7]])


def embedded(model: torch.nn.Module, trains: bool) -> torch.Tensor:
    model.train(trains)
    torch.manual_seed(3)
    return model.get_input_embeddings()(TOKENS).detach()


def test_it_is_the_noise_of_transformers() -> None:
    ours, plain, reference = (tiny_model("opt") for _ in range(3))
    add_embedding_noise(ours, 5.0)
    accelerator = SimpleNamespace(unwrap_model=lambda model: model)
    activate_neftune(reference, 5.0, accelerator)
    assert torch.equal(embedded(ours, True), embedded(reference, True))
    noise = embedded(ours, True) - embedded(plain, True)
    bound = 5.0 / (TOKENS.shape[1] * noise.shape[-1]) ** 0.5
    assert 0.9 * bound < noise.abs().max() <= bound * 1.001


def test_an_evaluation_has_none() -> None:
    ours, plain = tiny_model("opt"), tiny_model("opt")
    add_embedding_noise(ours, 5.0)
    assert torch.equal(embedded(ours, False), embedded(plain, False))
    assert not torch.equal(embedded(ours, True), embedded(plain, True))
