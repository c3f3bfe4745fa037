"""Is the loss in tiles the whole loss, with its gradients, and are logits never there all at once?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.families import EVERY
from tests.model.test_packing_families import PACKED, answer, built, gradient_difference, relative_difference
from tests.shared import tiny_model
from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.model.learner import Learner

torch.set_num_threads(1)

TILE = 4


def watched(model: Any) -> list[int]:
    """How many tokens' logits leave the output projection, each time that it is used."""
    logit_counts: list[int] = []
    model.get_output_embeddings().register_forward_hook(
        lambda head, inputs, output: logit_counts.append(output[..., 0].numel())
    )
    return logit_counts


@pytest.mark.parametrize("name", EVERY)
def test_tiles_equal_the_whole(name: str) -> None:
    """What a family does after its output projection (scales, soft caps) included; no tile is larger than asked for."""
    expected, expected_gradients = answer(Learner(built(EVERY[name])).train(), [PACKED])
    learner = Learner(built(EVERY[name]), tile=TILE).train()
    logit_counts = watched(learner.model)
    loss, gradients = answer(learner, [PACKED])
    assert relative_difference(loss, expected) < 1e-6
    assert gradient_difference(gradients, expected_gradients) < 1e-5
    learning = int((PACKED.labels != IGNORED).sum())
    assert max(logit_counts) <= TILE < learning
    assert sum(logit_counts) == 2 * learning  # once in each direction


def test_ranks_agree_on_the_number_of_tiles() -> None:
    """A rank with fewer tokens computes as many tiles, some of them empty: under ZeRO-3 each is a collective."""
    learner = Learner(tiny_model("llama"), tile=1000, agree=lambda tiles: tiles + 40)
    logit_counts = watched(learner.model)
    loss = learner(PACKED)
    assert len(logit_counts) == 41
    assert min(logit_counts) == 0
    assert loss.item() == pytest.approx(Learner(tiny_model("llama"))(PACKED).item(), rel=1e-6)


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_rows_where_nothing_learns_lose_nothing(family: str) -> None:
    learner = Learner(tiny_model(family), tile=TILE)
    no_labels: Tensor = torch.full_like(PACKED.labels, IGNORED)
    loss = learner(MicroBatch(PACKED.tokens, PACKED.positions, no_labels, PACKED.segments))
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())


def test_the_bf16_of_autocast_is_kept_when_computed_again() -> None:
    untiled = answer(Learner(tiny_model("llama")).train(), [PACKED], bf16=True)
    tiled = answer(Learner(tiny_model("llama"), tile=TILE).train(), [PACKED], bf16=True)
    assert relative_difference(tiled[0], untiled[0]) < 1e-5
    assert gradient_difference(tiled[1], untiled[1]) < 0.02  # bf16 gradients of the tiles are rounded one by one
