"""Is the learner's loss the plain one, computed only where there is a label, and its mask safe?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.families import EVERY
from tests.shared import TINY, tiny_model
from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.model.build import build
from tunefleet.model.learner import Learner, segment_mask
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources

torch.set_num_threads(1)

FAMILIES = tuple(TINY)
ROWS, LENGTH, VOCABULARY = 3, 12, 97


def micro_batch(labelled: float = 0.4, lengths: tuple[int, ...] = (12, 7, 3)) -> MicroBatch:
    """Rows of one conversation each, padded on the right."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, VOCABULARY, (ROWS, LENGTH), generator=draw)
    labels = torch.randint(3, VOCABULARY, (ROWS, LENGTH), generator=draw)
    real = torch.arange(LENGTH)[None] < torch.tensor(lengths)[:, None]
    loss_mask = (torch.rand(ROWS, LENGTH, generator=draw) < labelled) & real
    positions = torch.arange(LENGTH).expand(ROWS, LENGTH) * real
    return MicroBatch(
        tokens.where(real, torch.tensor(1)), positions, labels.where(loss_mask, torch.tensor(IGNORED)), None
    )


class RecordedShapes:
    """Shapes of everything that leaves the output projection."""

    def __init__(self, model: Any) -> None:
        self.shapes: list[tuple[int, ...]] = []
        model.get_output_embeddings().register_forward_hook(self._note)

    def _note(self, head: nn.Module, inputs: Any, output: Tensor) -> None:
        self.shapes.append(tuple(output.shape))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_plain_one(family: str) -> None:
    """Full logits of every row by itself, without padding, then cross entropy."""
    model = tiny_model(family)
    batch = micro_batch()
    expected = torch.zeros(())
    with torch.no_grad():
        for row in range(ROWS):
            length = int((batch.positions[row] > 0).sum()) + 1
            logits = model(input_ids=batch.tokens[row : row + 1, :length]).logits[0]
            labels = batch.labels[row, :length]
            expected += functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
        loss = Learner(model)(batch)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_the_full_logits(family: str) -> None:
    model = tiny_model(family)
    batch = micro_batch()
    logits = model(input_ids=batch.tokens, position_ids=batch.positions).logits
    functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction="sum").backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    Learner(model)(batch).backward()
    largest = max(g.norm().item() for g in expected.values())
    for name, parameter in model.named_parameters():
        assert (parameter.grad - expected[name]).norm().item() < 1e-5 * largest, name


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_computed_only_where_a_label_is(family: str) -> None:
    model = tiny_model(family)
    learner = Learner(model)
    recorded = RecordedShapes(model)
    batch = micro_batch()
    learner(batch)
    assert recorded.shapes == [(int((batch.labels != IGNORED).sum()), VOCABULARY)]
    assert recorded.shapes[0][0] < ROWS * LENGTH / 2


@pytest.mark.parametrize("family", FAMILIES)
def test_outside_of_the_learner_every_position_has_logits(family: str) -> None:
    """Control, and what generation and evaluation by others need."""
    model = tiny_model(family)
    learner = Learner(model)
    recorded = RecordedShapes(model)
    batch = micro_batch()
    learner(batch)
    assert model(input_ids=batch.tokens).logits.shape == (ROWS, LENGTH, VOCABULARY)
    generated = model.generate(input_ids=batch.tokens[:1], max_new_tokens=3, do_sample=False, eos_token_id=None)
    assert generated.shape == (1, LENGTH + 3)
    assert len(recorded.shapes) == 2 + 3


def test_a_failed_forward_leaves_the_model_whole() -> None:
    model = tiny_model("opt")
    learner = Learner(model)
    batch = micro_batch()
    batch.labels[0, 0] = VOCABULARY  # no such token
    with pytest.raises((IndexError, RuntimeError)):
        learner(batch)
    assert model(input_ids=batch.tokens).logits.shape == (ROWS, LENGTH, VOCABULARY)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("packed", [True, False])
def test_without_a_label_loss_and_gradients_are_zero(family: str, packed: bool) -> None:
    learner = Learner(tiny_model(family))
    batch = micro_batch(labelled=0.0)
    segments = (batch.positions > 0).long() if packed else None
    loss = learner(MicroBatch(batch.tokens, batch.positions, batch.labels, segments))
    loss.backward()
    assert loss.item() == 0.0
    gradients = [p.grad for p in learner.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_gives_no_nan(family: str, dtype: torch.dtype) -> None:
    """Rows of padding alone included: they keep ranks in step."""
    learner = Learner(tiny_model(family).to(dtype))
    batch = micro_batch(lengths=(12, 5, 0))
    segments = torch.arange(1, ROWS + 1)[:, None] * (batch.tokens != 1)
    loss = learner(MicroBatch(batch.tokens, batch.positions, batch.labels, segments))
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert loss.item() > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in learner.parameters())


# --- the mask

SEGMENTS = torch.tensor([[1, 1, 1, 2, 2, 3, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]])
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def may_look(segments: Tensor, window: int | None) -> Tensor:
    """Written out, position by position."""
    rows, length = segments.shape
    visible = torch.zeros(rows, length, length, dtype=torch.bool)
    for row in range(rows):
        for i in range(length):
            for j in range(i + 1):
                in_window = window is None or i - j < window
                visible[row, i, j] = in_window and segments[row, i] == segments[row, j]
    return visible


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("window", [None, 1, 2, 3, 7, 8, 100])
def test_who_sees_whom(dtype: torch.dtype, window: int | None) -> None:
    mask = segment_mask(SEGMENTS, dtype, window)
    assert mask.shape == (3, 1, 8, 8)
    assert mask.dtype == dtype
    assert torch.equal(mask[:, 0] == 0, may_look(SEGMENTS, window))
    assert mask.isfinite().all()
    assert ((mask == 0) | (mask == torch.finfo(dtype).min)).all()


def test_no_token_sees_the_future_or_another_segment() -> None:
    visible = segment_mask(SEGMENTS, torch.float32)[:, 0] == 0
    assert not visible.triu(1).any()
    assert not (visible & (SEGMENTS[:, :, None] != SEGMENTS[:, None, :])).any()
    assert visible.diagonal(dim1=1, dim2=2).all()  # so that no row is empty


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_attention_with_the_mask_is_finite_and_ignores_what_is_masked(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, 8, 4, generator=draw).to(dtype) for _ in range(3))
    mask = segment_mask(SEGMENTS, dtype)
    packed_attention = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    value[0, :, :3] = 50.0  # another segment than positions 3, 4 and 5
    after = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert packed_attention.isfinite().all()
    assert torch.equal(packed_attention[0, :, 3:], after[0, :, 3:])
    assert not torch.equal(packed_attention[0, :, :3], after[0, :, :3])


def test_the_mask_has_the_number_format_of_the_attention() -> None:
    learner = Learner(tiny_model("llama"))
    assert learner.mask_dtype() == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert learner.mask_dtype() == torch.bfloat16
    assert Learner(tiny_model("llama").to(torch.float16)).mask_dtype() == torch.float16


# --- the bias of ALiBi


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_blooms_bias_restarts_in_every_segment(dtype: torch.dtype) -> None:
    """Bit for bit that of the conversation alone: in bfloat16 places beyond 256 would be rounded."""
    lengths = (300, 40)
    segments = torch.tensor([[1] * lengths[0] + [2] * lengths[1]])
    bias = Learner(tiny_bloom()).model.base_model.build_alibi_tensor
    packed = bias(segment_mask(segments, dtype), 4, dtype)
    unpacked = [bias(torch.ones(1, length, dtype=torch.int64), 4, dtype) for length in lengths]
    assert packed.shape == (4, 1, sum(lengths))
    assert torch.equal(packed, torch.cat(unpacked, dim=-1))
    running = bias(torch.ones(1, sum(lengths), dtype=torch.int64), 4, dtype)[:, 0, lengths[0] :]
    distances = running - running[:, :1]
    assert torch.equal(distances, unpacked[1][:, 0]) == (dtype == torch.float32)  # the control


def test_blooms_bias_of_padded_prompts_is_its_own() -> None:
    """Masks of two dimensions, as in generation, are left to the model."""
    model = tiny_bloom()
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    expected = model.base_model.build_alibi_tensor(mask, 4, torch.float32)
    assert torch.equal(Learner(model).model.base_model.build_alibi_tensor(mask, 4, torch.float32), expected)


def tiny_bloom() -> Any:
    return build(Sources(None, "", Architecture(EVERY["bloom"])), seed=0)
