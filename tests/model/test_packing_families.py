"""Is the packed loss, with its gradients, the sum of the unpacked ones in every family that may pack?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.families import EVERY, INEXACT, WINDOWED, Config
from tests.shared import dataset_of
from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.data.batches.collate import collate
from tunefleet.model import learner as learner_module
from tunefleet.model.build import build
from tunefleet.model.learner import Learner
from tunefleet.plan.families import by_document, packing
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.registry import FAMILIES
from tunefleet.plan.paths.model_files import Sources

torch.set_num_threads(1)

PAD = 1
ROWS = ((9, 5, 7), (13, 4, 3, 8))  # lengths of the conversations; the first row ends in padding
LENGTH = sum(ROWS[1])
CLOSE = 1e-5
"""fp32, relative; measured are up to 2e-7 for losses and 5e-6 for gradients."""
TABLE = ("opt", "gpt2", "gpt_bigcode", "gpt_neo", "biogpt", "xglm", "ctrl")  # a vector for each place, not a rotation
ALIBI = ("bloom", "mpt")  # positions are not read
NEED_A_MASK = ("opt", "bloom", "mpt", "falcon", "biogpt", "xglm", "gpt_oss")  # positions alone separate nothing
EXPERTS = {name: config for name, config in EVERY.items() if "num_experts_per_tok" in config}
NO_ROUTER_LOSS = ("deepseek_v2", "deepseek_v3")

Answer = tuple[float, dict[str, Tensor]]


def built(config: Config) -> Any:
    return build(Sources(None, "", Architecture(config)), seed=0)


def learner(config: Config) -> Learner:
    """As in training; nothing here drops out."""
    return Learner(built(config)).train()


def family(name: str) -> str:
    return name.partition(",")[0]


def families(architectures: dict[str, Config]) -> set[str]:
    return {str(config["model_type"]) for config in architectures.values()}


@cache
def batches() -> tuple[MicroBatch, list[MicroBatch], MicroBatch]:
    """Two packed rows; their conversations one by one; the same in one padded batch."""
    draw = np.random.default_rng(0)
    conversations = [(draw.integers(3, 97, n), np.arange(n) >= 2) for row in ROWS for n in row]
    numbers = iter(range(len(conversations)))
    data = dataset_of(conversations, sequences=[[next(numbers) for _ in row] for row in ROWS])
    unpacked = dataset_of(conversations)
    return (
        collate(data, [0, 1], PAD, packed=True),
        [collate(unpacked, [i], PAD, packed=False) for i in range(len(conversations))],
        collate(unpacked, range(len(conversations)), PAD, packed=False),
    )


PACKED, UNPACKED, PADDED = batches()


def answer(model: Learner, micro_batches: Sequence[MicroBatch], bf16: bool = False) -> Answer:
    """The sum of losses and the gradient of every weight."""
    model.zero_grad(set_to_none=True)
    total = 0.0
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch in micro_batches:
            loss = model(batch)
            loss.backward()
            total += loss.item()
    return total, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def loss_of(model: Learner, *micro_batches: MicroBatch) -> float:
    with torch.no_grad():
        return sum(model(batch).item() for batch in micro_batches)


def relative_difference(first: float, second: float) -> float:
    return abs(first - second) / abs(second)


def gradient_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest difference of any weight's gradient, in its norm; a gradient that is zero up to rounding
    (of a bias before a softmax) is measured against a hundredth of the largest."""
    assert first.keys() == second.keys()
    floor = 0.01 * max(g.norm().item() for g in second.values())
    return max((first[n] - g).norm().item() / max(g.norm().item(), floor) for n, g in second.items())


# --- what the plan claims


def test_the_plan_claims_what_is_measured_here_and_nothing_else() -> None:
    exact = packing.exact_families()
    assert set(exact) == families(EVERY)
    assert set(packing.windowed_families()) == families(WINDOWED)
    assert len(exact) >= 50
    assert {*FAMILIES} - {*exact} == families(INEXACT) - {*exact}


def test_the_plan_packs_what_is_exact() -> None:
    assert {name: packing.refusal(Architecture(config), length=16) for name, config in EVERY.items()} == dict.fromkeys(
        EVERY
    )


def test_rows_to_measure_with() -> None:
    assert PACKED.tokens.shape == (2, LENGTH)
    assert int((PACKED.segments == 0).sum()) == LENGTH - sum(ROWS[0])
    assert len(UNPACKED) == len(PADDED.tokens) == 7


# --- packed, padded and alone


@pytest.mark.parametrize("name", EVERY)
def test_packed_equals_unpacked(name: str) -> None:
    model = learner(EVERY[name])
    expected, expected_gradients = answer(model, UNPACKED)
    assert len(expected_gradients) == sum(1 for _ in model.parameters())
    for batch in (PACKED, PADDED):
        losses, gradients = answer(model, [batch])
        assert relative_difference(losses, expected) < CLOSE
        assert gradient_difference(gradients, expected_gradients) < CLOSE


@pytest.mark.parametrize("name", [name for name in EVERY if name not in EXPERTS])
def test_packed_equals_unpacked_in_bf16(name: str) -> None:
    """Tolerance: bfloat16 rounds to 1 in 256; a loss is a mean over 35 tokens, a gradient is not (one segment for
    all is off by 0.7 and more). Without families of experts: rounding may choose another expert."""
    model = learner(EVERY[name])
    expected, expected_gradients = answer(model, UNPACKED, bf16=True)
    losses, gradients = answer(model, [PACKED], bf16=True)
    assert relative_difference(losses, expected) < 2e-3
    assert gradient_difference(gradients, expected_gradients) < 0.2


@pytest.mark.parametrize("name", EVERY)
def test_control_one_segment_for_all_is_another_loss(name: str) -> None:
    """The defence switched off: every conversation sees those before it in its row."""
    model = learner(EVERY[name])
    expected, expected_gradients = answer(model, UNPACKED)
    assert PACKED.segments is not None
    losses, gradients = answer(model, [replace(PACKED, segments=torch.ones_like(PACKED.segments))])
    assert relative_difference(losses, expected) > 10 * CLOSE
    assert gradient_difference(gradients, expected_gradients) > 0.05


@pytest.mark.parametrize("name", EVERY)
def test_control_without_segments(name: str) -> None:
    """Positions alone separate conversations in most families (without a cache), and not in OPT."""
    model = learner(EVERY[name])
    losses = relative_difference(loss_of(model, replace(PACKED, segments=None)), loss_of(model, *UNPACKED))
    assert (losses > 10 * CLOSE) == (family(name) in NEED_A_MASK)


@pytest.mark.parametrize("name", EVERY)
def test_control_positions_matter(name: str) -> None:
    """Positions that do not restart: rotary ones are relative, and do not mind. The same place for all: they do."""
    model = learner(EVERY[name])
    running = torch.arange(LENGTH).expand_as(PACKED.positions)
    one_place = torch.zeros_like(PACKED.positions)
    expected = loss_of(model, PACKED)
    beyond_native = name == "phi3, longrope"  # rows of 28 tokens, where the plan allows 16
    goes_on, collapsed = (
        relative_difference(loss_of(model, replace(PACKED, positions=p)), expected) for p in (running, one_place)
    )
    assert (goes_on > 10 * CLOSE) == (family(name) in TABLE or beyond_native)
    assert (collapsed > 10 * CLOSE) == (family(name) not in ALIBI)


@pytest.mark.parametrize("name", WINDOWED)
def test_control_the_window_matters(name: str) -> None:
    """Without it (longer than any row) the unpacked loss is another: the rows are long enough to tell."""
    narrow, wide = (loss_of(learner(WINDOWED[name] | {"sliding_window": window}), *UNPACKED) for window in (4, 64))
    assert relative_difference(narrow, wide) > 100 * CLOSE


@pytest.mark.parametrize("name", EVERY)
def test_gradient_checkpointing_computes_the_same(name: str) -> None:
    model = learner(EVERY[name])
    if not model.model.supports_gradient_checkpointing:
        pytest.skip("transformers has no gradient checkpointing for it")
    expected, expected_gradients = answer(model, [PACKED])
    model.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    losses, gradients = answer(model, [PACKED])
    assert relative_difference(losses, expected) < 1e-6
    assert gradient_difference(gradients, expected_gradients) < CLOSE


@pytest.mark.parametrize("name", EVERY)
def test_the_order_of_conversations_in_a_row_does_not_matter(name: str) -> None:
    model = learner(EVERY[name])
    draw = np.random.default_rng(1)
    conversations = [(draw.integers(3, 97, n), np.arange(n) >= 1) for n in (6, 11, 4)]
    losses = [
        loss_of(model, collate(dataset_of(conversations, sequences=[order]), [0], PAD, packed=True))
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0])
    ]
    assert max(relative_difference(loss, losses[0]) for loss in losses) < CLOSE


# --- the family's own loss


def own_loss(model: Any, batch: MicroBatch) -> float:
    """The sum of token losses that transformers computes: it shifts the labels, and takes the mean."""
    labels = torch.cat([torch.full_like(batch.labels[:, :1], IGNORED), batch.labels[:, :-1]], dim=1)
    with torch.no_grad():
        return float(model(input_ids=batch.tokens, labels=labels).loss) * int((batch.labels != IGNORED).sum())


@pytest.mark.parametrize("name", EVERY)
def test_the_loss_is_the_familys_own(name: str) -> None:
    """What a family does after its output projection (scales, soft caps) included, from logits at labels only."""
    model = learner(EVERY[name])
    widths: list[int] = []
    head: nn.Module = model.model.get_output_embeddings()
    head.register_forward_hook(lambda head, inputs, output: widths.append(output.shape[:-1].numel()))
    loss, expected = loss_of(model, *UNPACKED), sum(own_loss(model.model, batch) for batch in UNPACKED)
    assert relative_difference(loss, expected) < CLOSE
    assert widths[: len(UNPACKED)] == [int((batch.labels != IGNORED).sum()) for batch in UNPACKED]
    assert widths[len(UNPACKED) :] == [batch.labels.numel() for batch in UNPACKED]


@pytest.mark.parametrize("name", EXPERTS)
def test_routers_add_no_loss_of_their_own(name: str) -> None:
    """Control: where config.json asks for it, transformers adds one to its loss."""
    config = EXPERTS[name] | {"output_router_logits": True}
    assert loss_of(learner(config), PACKED) == loss_of(learner(EXPERTS[name]), PACKED)
    added = relative_difference(own_loss(built(config), UNPACKED[0]), own_loss(built(EXPERTS[name]), UNPACKED[0]))
    assert (added > 10 * CLOSE) == (name not in NO_ROUTER_LOSS)


# --- the others


@pytest.mark.parametrize("name", INEXACT)
def test_what_the_plan_refuses_is_wrong(name: str) -> None:
    """The reason is stated, and packed rows fail or train another loss."""
    assert packing.refusal(Architecture(INEXACT[name]), length=16)
    model = learner(INEXACT[name])
    expected, expected_gradients = answer(model, UNPACKED)
    try:
        losses, gradients = answer(model, [PACKED])
    except (RuntimeError, ValueError):
        return
    assert relative_difference(losses, expected) > 10 * CLOSE
    assert gradient_difference(gradients, expected_gradients) > 0.05


def test_a_rotary_embedding_that_stretches_is_refused_beyond_its_native_length() -> None:
    """One conversation longer than 16 tokens changes the embedding of the others in its batch."""
    config = EVERY["phi3, longrope"]
    assert packing.refusal(Architecture(config), length=16) is None
    reason = packing.refusal(Architecture(config), length=17)
    assert (
        reason == "its longrope rotary embedding changes for all conversations of a batch when one has over 16 tokens"
    )
    draw = np.random.default_rng(2)
    conversations = [(draw.integers(3, 97, n), np.arange(n) >= 2) for n in (7, 17)]
    model = learner(config)
    batched = collate(dataset_of(conversations, sequences=[[0, 1]]), [0], PAD, packed=True)
    unpacked = [collate(dataset_of(conversations), [i], PAD, packed=False) for i in range(2)]
    assert relative_difference(loss_of(model, batched), loss_of(model, *unpacked)) > 10 * CLOSE


# --- by document


def by_document_learner(config: Config) -> Learner:
    return Learner(built(config), by_document=True).train()


def with_wide_window(name: str) -> Config:
    """Wider than any conversation, so that nothing asks for a mask; one segment for all is beyond it."""
    return WINDOWED[name] | {"sliding_window": 16} if name in WINDOWED else EVERY[name]


@pytest.mark.parametrize("name", EVERY)
def test_by_document_equals_the_mask_or_the_plan_takes_the_mask(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed and padded rows; where the plan takes the mask, the family's own attention refuses or cannot take it."""
    config = with_wide_window(name)
    masks: list[None] = []
    monkeypatch.setattr(learner_module, "segment_mask", lambda *settings: masks.append(None))
    model = by_document_learner(config)
    if by_document.refusal(Architecture(config)):
        with pytest.raises((RuntimeError, ValueError, AssertionError)):
            loss_of(model, PACKED)
        return
    for batch in (PACKED, PADDED):
        losses, gradients = answer(model, [batch])
        monkeypatch.undo()
        expected, expected_gradients = answer(learner(config), [batch])
        assert relative_difference(losses, expected) < CLOSE
        assert gradient_difference(gradients, expected_gradients) < CLOSE
    assert not masks


@pytest.mark.parametrize("name", WINDOWED)
def test_by_document_a_conversation_beyond_the_window_has_the_mask(name: str) -> None:
    """Control: attention by document has no window, and its loss would be another."""
    config = WINDOWED[name]
    if by_document.refusal(Architecture(config)):
        pytest.skip("the plan takes the mask for it anyway")
    with_mask, without = by_document_learner(config), by_document_learner(with_wide_window(name))
    for batch in (PACKED, PADDED):
        expected = loss_of(learner(config), batch)
        assert relative_difference(loss_of(with_mask, batch), expected) < CLOSE
        assert relative_difference(loss_of(without, batch), expected) > 10 * CLOSE


def test_the_plan_knows_by_document_what_is_measured_here() -> None:
    refused = {family(name) for name, config in EVERY.items() if by_document.refusal(Architecture(config))}
    assert set(by_document.exact_families()) == families(EVERY) - refused
    assert len(by_document.exact_families()) == 44
    assert by_document.refusal(Architecture(INEXACT["mamba"]))
    assert by_document.refusal(Architecture({"model_type": "never seen"}))
    assert by_document.refusal(Architecture(EVERY["llama"] | {"sliding_window": 4}))
