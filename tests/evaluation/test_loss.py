"""Is the evaluation loss the mean over tokens, whatever the batches and ranks?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.shared import dataset_of, tiny_model
from tunefleet.contracts import MicroBatch
from tunefleet.data.batches.order import in_order
from tunefleet.data.store.dataset import Dataset
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.evaluation.loss import mean_loss, perplexity
from tunefleet.model.learner import Learner

torch.set_num_threads(1)

PAD = 1
SIZES = (3, 14, 5, 20, 4, 9, 11)


def conversations() -> list[tuple[list[int], list[bool]]]:
    draw = np.random.default_rng(0)
    return [(draw.integers(3, 97, n).tolist(), [i >= 2 for i in range(n)]) for n in SIZES]


def engine(dropout: float = 0.0) -> PlainModel:
    return PlainModel(Learner(tiny_model("opt", dropout=dropout)))


def batches(data: Dataset, size: int, rank: int = 0, ranks: int = 1, packed: bool = False) -> list[MicroBatch]:
    return in_order(data, None, size, rank, ranks, PAD, packed)


class Recording(SingleProcess):
    """One of several ranks: keeps what it would add up."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.own_sums: list[float] = []

    def total(self, numbers: Sequence[float]) -> list[float]:
        self.own_sums = list(numbers)
        return self.own_sums


def by_hand() -> list[list[float]]:
    """Losses of every loss token of each conversation, from full logits."""
    model = tiny_model("opt").eval()
    by_conversation = []
    for tokens, loss_mask in conversations():
        ids = torch.tensor([tokens])
        with torch.no_grad():
            losses = functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
        by_conversation.append([loss for loss, masked in zip(losses.tolist(), loss_mask[1:], strict=True) if masked])
    return by_conversation


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_it_is_the_mean_over_tokens(size: int) -> None:
    losses = [loss for conversation in by_hand() for loss in conversation]
    assert len(losses) == sum(SIZES) - 2 * len(SIZES)
    loss = mean_loss(engine(), SingleProcess(), batches(dataset_of(conversations()), size))
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_control_the_mean_of_means_is_another_number() -> None:
    """So that the test above can tell: short and long conversations differ."""
    means = [sum(conversation) / len(conversation) for conversation in by_hand()]
    loss = mean_loss(engine(), SingleProcess(), batches(dataset_of(conversations()), 1))
    assert abs(loss - sum(means) / len(means)) > 1e-3 * loss


def test_packed_rows_give_the_same() -> None:
    packed = batches(dataset_of(conversations(), sequences=[[0, 1, 2], [3, 4], [5, 6]]), 2, packed=True)
    one_process = batches(dataset_of(conversations()), 2)
    assert mean_loss(engine(), SingleProcess(), packed) == pytest.approx(
        mean_loss(engine(), SingleProcess(), one_process), rel=1e-5
    )


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_together_give_the_same(ranks: int) -> None:
    """Five ranks and four batches: one rank has nothing but an empty row."""
    data, model = dataset_of(conversations()), engine()
    groups = [Recording(rank, ranks) for rank in range(ranks)]
    for group in groups:
        mean_loss(model, group, batches(data, 2, group.rank, ranks))
    total, tokens = (sum(numbers) for numbers in zip(*(group.own_sums for group in groups), strict=True))
    assert tokens == sum(SIZES) - 2 * len(SIZES)
    assert total / tokens == pytest.approx(mean_loss(model, SingleProcess(), batches(data, 2)), rel=1e-6)


def test_what_the_other_ranks_add_counts() -> None:
    class OtherRank(SingleProcess):
        def total(self, numbers: Sequence[float]) -> list[float]:
            return [numbers[0] + 30.0, numbers[1] + 10.0]

    assert mean_loss(engine(), OtherRank(), []) == 3.0


def test_without_any_learning_token_there_is_no_loss() -> None:
    silent = dataset_of([([5, 6, 7], [False] * 3)])
    assert math.isnan(mean_loss(engine(), SingleProcess(), batches(silent, 1)))
    assert math.isnan(mean_loss(engine(), SingleProcess(), []))


def test_no_dropout_and_no_gradient() -> None:
    model = engine(dropout=0.5)
    data = batches(dataset_of(conversations()), 2)
    assert mean_loss(model, SingleProcess(), data) == mean_loss(model, SingleProcess(), data)
    assert all(weight.grad is None for weight in model.model.parameters())
    model.model.train()  # control: with dropout it would be another number each time
    assert mean_loss(model, SingleProcess(), data) != mean_loss(model, SingleProcess(), data)


def test_perplexity() -> None:
    assert perplexity(0.0) == 1.0
    assert perplexity(math.log(97)) == pytest.approx(97)
    assert perplexity(1e6) == math.inf
    assert math.isfinite(perplexity(699.0))
    assert math.isnan(perplexity(math.nan))
