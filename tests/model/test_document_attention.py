"""Does attention by document compute what a mask does, and tell documents apart to the bit?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import masking_utils

from tests.families import EVERY
from tests.model.test_packing_families import PACKED, PADDED, answer, built, gradient_difference
from tests.shared import tiny_model
from tunefleet.contracts import MicroBatch
from tunefleet.libraries import transformers_private
from tunefleet.model import document_attention
from tunefleet.model.learner import Learner

SEGMENTS = torch.tensor([[1] * 5 + [2] * 9 + [3] * 2, [1] * 13 + [0] * 3])
LONG = torch.tensor([[1] * 30 + [2] * 600 + [3] * 10])  # bf16 changes its way with the length
GROUPED = (8, 2, 16)  # heads, key heads, width


@dataclass
class Layer:
    """What SDPA asks an attention layer of transformers."""

    num_key_value_groups: int = 1
    is_causal: bool = True
    training: bool = True


def drawn(segments: Tensor, shape: tuple[int, int, int] = GROUPED, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Queries, keys and values [rows, heads, length, width] as a projection gives them."""
    heads, key_heads, width = shape
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randn(*segments.shape, count, width, generator=draw).to(dtype).transpose(1, 2).requires_grad_()
        for count in (heads, key_heads, key_heads)
    ]


def attended(inputs: list[Tensor], segments: Tensor, **settings: Any) -> Tensor:
    output, _ = document_attention.attention(Layer(), *inputs, document_attention.bounds(segments), **settings)
    return output


def by_formula(inputs: list[Tensor], segments: Tensor, scale: float | None = None) -> Tensor:
    """softmax(QK' scale) V over the earlier tokens of the same segment, in fp64."""
    query, key, value = (tensor.double() for tensor in inputs)
    key, value = (tensor.repeat_interleave(query.shape[1] // key.shape[1], 1) for tensor in (key, value))
    scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    visible = (segments[:, :, None] == segments[:, None]) & torch.ones(2 * [segments.shape[1]]).tril().bool()
    return (scores.masked_fill(~visible[:, None], -torch.inf).softmax(-1) @ value).transpose(1, 2)


def gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    return list(torch.autograd.grad((output.double() * weights).sum(), inputs))


def furthest(first: Tensor, second: Tensor) -> float:
    first, second = first.detach().double(), second.detach().double()
    return float((first - second).norm() / second.norm())


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("segments", [SEGMENTS, LONG])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_it_is_the_formula(dtype: torch.dtype, close: float, segments: Tensor, scale: float | None) -> None:
    inputs = drawn(segments, dtype=dtype)
    output, expected = attended(inputs, segments, scaling=scale), by_formula(inputs, segments, scale)
    assert output.dtype is dtype
    assert furthest(output, expected) < close
    for gradient, wanted in zip(gradients(output, inputs), gradients(expected, inputs), strict=True):
        assert furthest(gradient, wanted) < close


def test_values_may_be_narrower_than_keys() -> None:
    query, key, value = drawn(SEGMENTS)
    inputs = [query, key, value[..., :8]]
    assert furthest(attended(inputs, SEGMENTS), by_formula(inputs, SEGMENTS)) < 1e-6


def test_autocast_attends_in_its_dtype() -> None:
    inputs = drawn(SEGMENTS)
    with torch.autocast("cpu", torch.bfloat16):
        output = attended(inputs, SEGMENTS)
    assert output.dtype is torch.bfloat16
    assert torch.equal(output, attended([tensor.bfloat16() for tensor in inputs], SEGMENTS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("segments", "isolated"), [(SEGMENTS, True), (torch.ones_like(SEGMENTS), False)])
def test_no_bit_of_a_document_depends_on_another(dtype: torch.dtype, segments: Tensor, isolated: bool) -> None:
    """Outputs and gradients; the control is one segment for all of a row."""
    inputs = drawn(SEGMENTS, dtype=dtype)
    changed = [tensor.detach().clone() for tensor in inputs]
    for tensor in changed:
        tensor[0, :, 2] = torch.inf if isolated else 7.0  # a token of the first document
        tensor.requires_grad_()
    pairs = []
    for tensors in (inputs, changed):
        output = attended(tensors, segments)
        in_row = [output.transpose(1, 2), *gradients(output, tensors)]
        pairs.append([torch.cat([tensor[0, :, 5:].flatten(), tensor[1].flatten()]) for tensor in in_row])
    assert all(torch.equal(*pair) for pair in zip(*pairs, strict=True)) == isolated


def test_dropout_is_obeyed() -> None:
    inputs = drawn(SEGMENTS)
    torch.manual_seed(0)
    dropped = [attended(inputs, SEGMENTS, dropout=0.5) for _ in range(400)]
    assert furthest(dropped[0], dropped[1]) > 0.1
    assert furthest(torch.stack(dropped).mean(0), attended(inputs, SEGMENTS)) < 0.1


@pytest.mark.parametrize("setting", ["softcap", "s_aux", "position_bias"])
def test_what_it_does_not_compute_is_refused(setting: str) -> None:
    with pytest.raises(AssertionError, match=setting):
        attended(drawn(SEGMENTS), SEGMENTS, **{setting: 5.0})


def test_bounds_are_those_of_runs_of_segments() -> None:
    bounds = document_attention.bounds(SEGMENTS)
    assert bounds.tolist() == [[[[0, 5, 14, 16, 29, 32]]]]
    assert document_attention.longest(bounds) == 13


def test_a_mask_goes_to_sdpa() -> None:
    query, key, value = drawn(SEGMENTS, (4, 4, 8))
    mask = torch.zeros(2, 1, 16, 16).masked_fill(~torch.ones(16, 16).tril().bool(), -torch.inf)
    output, _ = document_attention.attention(Layer(), query, key, value, mask)
    assert torch.equal(output.transpose(1, 2), scaled_dot_product_attention(query, key, value, mask))


# --- in a model


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What looked at positions, or made a mask."""
    seen: list[str] = []

    def spy(name: str) -> Any:
        original = getattr(masking_utils, name)
        return lambda *given, **settings: (seen.append(name), original(*given, **settings))[1]

    for name in ("find_packed_sequence_indices", "sdpa_mask"):
        monkeypatch.setattr(masking_utils, name, spy(name))
    monkeypatch.setitem(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "sdpa", masking_utils.sdpa_mask)
    return seen


def test_transformers_looks_at_no_positions_and_makes_no_mask(calls: list[str]) -> None:
    """Of padded rows either; the control is a learner with masks."""
    model = Learner(tiny_model("llama"), by_document=True)
    for batch in (PACKED, PADDED):
        model(batch)
    assert not calls
    Learner(tiny_model("llama"))(PADDED)
    assert set(calls) >= {"find_packed_sequence_indices"}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_model_that_generates_attends_as_ever(checkpointing: bool) -> None:
    """With a cache, as before it learnt; what is computed again is computed by document."""
    model = built(EVERY["llama"])
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    prompt = PADDED.tokens[:2, :4]
    expected = built(EVERY["llama"]).generate(prompt, max_new_tokens=4, do_sample=False)
    learner = Learner(model, by_document=True).train()
    _, expected_gradients = answer(Learner(built(EVERY["llama"])).train(), [PACKED])
    _, computed = answer(learner, [PACKED])
    assert gradient_difference(computed, expected_gradients) < 1e-5
    assert transformers_private.attention_of(model.config) == "sdpa"
    assert torch.equal(model.eval().generate(prompt, max_new_tokens=4, do_sample=False), expected)


@pytest.mark.parametrize("family", ["opt", "llama", "gpt2"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_changed_token_changes_nothing_in_another_conversation(family: str, packed: bool) -> None:
    """To the bit, whole logits; the control is the conversation itself, behind that token."""
    model = Learner(tiny_model(family).eval(), by_document=True)
    batch: MicroBatch = PACKED if packed else PADDED
    tokens = batch.tokens.clone()
    tokens[0, 2] = 40 if tokens[0, 2] != 40 else 41
    with torch.no_grad():
        before, after = model.outputs(batch), model.outputs(replace(batch, tokens=tokens))
    others = torch.ones_like(tokens, dtype=torch.bool)
    others[0, : 9 if packed else None] = False  # the first conversation, and padding behind it, which sees it
    assert torch.equal(before[others], after[others])
    assert (before[0, 2:9] != after[0, 2:9]).any(-1).all()
