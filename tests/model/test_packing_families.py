"""Is the packed loss, with its gradients, the sum of the unpacked ones in every family that may pack?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.shared import dataset_of, tiny_model
from tunefleet.data.collate import collate
from tunefleet.model.learner import Learner
from tunefleet.plan.checks import PACKING_FAMILIES
from tunefleet.plan.contracts import MicroBatch

torch.set_num_threads(1)

PAD = 1
ROWS = ((9, 5, 7), (13, 4, 3, 8))  # lengths of the conversations; the first row ends in padding
LEARNED_POSITIONS = ("opt", "gpt2")
WINDOW = {
    "mistral, window": ("mistral", {"sliding_window": 4}),
    "qwen2, window": ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}),
    "qwen2, window in the upper layer": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ),
    "qwen2, window switched off": ("qwen2", {"use_sliding_window": False, "sliding_window": 4}),
}
EVERY: dict[str, tuple[str, dict[str, Any]]] = {family: (family, {}) for family in PACKING_FAMILIES} | WINDOW

Answer = tuple[float, dict[str, Tensor]]


def learner(name: str) -> Learner:
    family, changes = EVERY[name]
    return Learner(tiny_model(family, **changes))


def batches() -> tuple[MicroBatch, list[MicroBatch]]:
    """Two packed rows, and their conversations one by one."""
    draw = np.random.default_rng(0)
    talks = [(draw.integers(3, 97, n), np.arange(n) >= 2) for row in ROWS for n in row]
    numbers = iter(range(len(talks)))
    data = dataset_of(talks, rows=[[next(numbers) for _ in row] for row in ROWS])
    alone = dataset_of(talks)
    return (
        collate(data, [0, 1], PAD, packed=True),
        [collate(alone, [i], PAD, packed=False) for i in range(len(talks))],
    )


def answer(model: Learner, given: Sequence[MicroBatch], bf16: bool = False) -> Answer:
    """The sum of losses and the gradient of every weight."""
    model.zero_grad(set_to_none=True)
    total = 0.0
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch in given:
            loss = model(batch)
            loss.backward()
            total += loss.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def apart(one: float, other: float) -> float:
    return abs(one - other) / abs(other)


def gradients_apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of any weight's gradient, in its norm; a gradient that is zero up to rounding
    (of a bias before a softmax) is measured against a hundredth of the largest."""
    assert one.keys() == other.keys()
    floor = 0.01 * max(g.norm().item() for g in other.values())
    return max((one[n] - g).norm().item() / max(g.norm().item(), floor) for n, g in other.items())


def test_every_family_has_a_row_here() -> None:
    assert set(PACKING_FAMILIES) <= set(EVERY)
    packed, alone = batches()
    assert packed.tokens.shape == (2, 28)
    assert int((packed.segments == 0).sum()) == 7
    assert len(alone) == 7


@pytest.mark.parametrize("name", EVERY)
def test_packed_equals_unpacked(name: str) -> None:
    model = learner(name)
    packed, alone = batches()
    expected, expected_gradients = answer(model, alone)
    found, gradients = answer(model, [packed])
    assert apart(found, expected) < 1e-5
    assert gradients_apart(gradients, expected_gradients) < 1e-4
    assert len(gradients) == sum(1 for _ in model.parameters())


@pytest.mark.parametrize("name", EVERY)
def test_packed_equals_unpacked_in_bf16(name: str) -> None:
    """Tolerance: bfloat16 rounds to 1 in 256; a loss is a mean over 50 tokens, a gradient is not."""
    model = learner(name)
    packed, alone = batches()
    expected, expected_gradients = answer(model, alone, bf16=True)
    found, gradients = answer(model, [packed], bf16=True)
    assert apart(found, expected) < 2e-3
    assert gradients_apart(gradients, expected_gradients) < 0.1


@pytest.mark.parametrize("name", EVERY)
def test_control_one_segment_for_all_is_another_loss(name: str) -> None:
    """The defence switched off: every conversation sees those before it in its row."""
    model = learner(name)
    packed, alone = batches()
    expected, expected_gradients = answer(model, alone)
    assert packed.segments is not None
    found, gradients = answer(model, [replace(packed, segments=torch.ones_like(packed.segments))])
    assert apart(found, expected) > 1e-3
    assert gradients_apart(gradients, expected_gradients) > 0.05


@pytest.mark.parametrize("name", EVERY)
def test_control_without_segments(name: str) -> None:
    """Positions alone separate conversations in most families (without a cache), and not in OPT."""
    model = learner(name)
    packed, alone = batches()
    found = apart(answer(model, [replace(packed, segments=None)])[0], answer(model, alone)[0])
    if name == "opt":
        assert found > 1e-3
    else:
        assert found < 1e-5


@pytest.mark.parametrize("name", EVERY)
def test_control_positions_that_do_not_restart(name: str) -> None:
    """Learned positions give another loss; rotary ones are relative, so there segments are enough."""
    model = learner(name)
    packed, _ = batches()
    running = torch.arange(packed.tokens.shape[1]).expand_as(packed.positions)
    found = apart(answer(model, [replace(packed, positions=running)])[0], answer(model, [packed])[0])
    if name in LEARNED_POSITIONS:
        assert found > 1e-3
    else:
        assert found < 1e-5


@pytest.mark.parametrize("name", ["mistral, window", "qwen2, window", "qwen2, window in the upper layer"])
def test_control_the_window_matters(name: str) -> None:
    """Without it (longer than any row) the unpacked loss is another: the rows are long enough to tell."""
    family, changes = EVERY[name]
    _, alone = batches()
    narrow = answer(Learner(tiny_model(family, **changes)), alone)[0]
    wide = answer(Learner(tiny_model(family, **{**changes, "sliding_window": 64})), alone)[0]
    assert apart(narrow, wide) > 1e-3


@pytest.mark.parametrize("family", PACKING_FAMILIES)
def test_gradient_checkpointing_computes_the_same(family: str) -> None:
    model = learner(family)
    packed, _ = batches()
    expected, expected_gradients = answer(model, [packed])
    model.train()
    model.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found, gradients = answer(model, [packed])
    assert apart(found, expected) < 1e-6
    assert gradients_apart(gradients, expected_gradients) < 1e-5


@pytest.mark.parametrize("family", PACKING_FAMILIES)
def test_the_order_of_conversations_in_a_row_does_not_matter(family: str) -> None:
    model = learner(family)
    draw = np.random.default_rng(1)
    talks = [(draw.integers(3, 97, n), np.arange(n) >= 1) for n in (6, 11, 4)]
    losses = [
        answer(model, [collate(dataset_of(talks, rows=[order]), [0], PAD, packed=True)])[0]
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0])
    ]
    assert max(apart(loss, losses[0]) for loss in losses) < 1e-5
