"""What are the kernels of GPUs given, and what is refused without them?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import signature
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen

from tests.model.test_document_attention import GROUPED, SEGMENTS, by_formula, drawn, furthest
from tunefleet.base.errors import ConfigError
from tunefleet.model import document_attention
from tunefleet.model.varlen_attention import kernel, varlen_attention

Calls = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernel is looked for anew, and flash_attn is not installed unless a test says so."""
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    kernel.cache_clear()
    yield
    kernel.cache_clear()


def reference(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scale: float | None) -> Tensor:
    segments = torch.repeat_interleave(torch.arange(len(bounds) - 1), bounds.diff())[None]
    return by_formula([tensor.transpose(0, 1)[None] for tensor in (query, key, value)], segments, scale)[0].float()


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A stand-in with the signature of flash_attn's function."""
    calls: Calls = []

    def flash_attn_varlen_func(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
    ) -> Tensor:
        calls.append(locals() | {"calls": None})
        return reference(q, k, v, cu_seqlens_q, softmax_scale)

    package: Any = ModuleType("flash_attn")
    package.flash_attn_varlen_func = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    return calls


@pytest.fixture
def torchs(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A stand-in for the operation behind torch's function, which is torch's own."""
    calls: Calls = []
    original = varlen.varlen_attn

    def varlen_attn(query: Tensor, key: Tensor, value: Tensor, *given: Any, **settings: Any) -> Tensor:
        names = ("cu_seq_q", "cu_seq_k", "max_q", "max_k")
        calls.append(dict(zip(names, given, strict=True)) | settings)
        return reference(query, key, value, given[0], settings["scale"])

    varlen_attn.__signature__ = signature(original)  # type: ignore[attr-defined]
    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    return calls


def tokens(inputs: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().transpose(1, 2).flatten(0, 1) for tensor in inputs]


def attended(inputs: list[Tensor], dropout: float = 0.0, scale: float | None = None) -> Tensor:
    bounds = document_attention.bounds(SEGMENTS).flatten()
    return varlen_attention(tokens(inputs), bounds, SEGMENTS.shape[1], dropout, scale).view(2, 16, 8, -1)


@pytest.mark.parametrize("scale", [None, 0.3])
def test_flash_attn_is_taken_where_it_is_installed(flash: Calls, torchs: Calls, scale: float | None) -> None:
    inputs = drawn(SEGMENTS)
    assert furthest(attended(inputs, 0.1, scale), by_formula(inputs, SEGMENTS, scale)) < 1e-6
    (call,) = flash
    assert not torchs
    for side in ("q", "k"):
        assert call[f"cu_seqlens_{side}"].tolist() == [0, 5, 14, 16, 29, 32]
        assert call[f"cu_seqlens_{side}"].dtype is torch.int32
        assert call[f"max_seqlen_{side}"] == 16
    assert (call["dropout_p"], call["softmax_scale"], call["causal"]) == (0.1, scale, True)


@pytest.mark.parametrize("shape", [GROUPED, (8, 8, 16)])
def test_elsewhere_torchs_own(torchs: Calls, shape: tuple[int, int, int]) -> None:
    inputs = drawn(SEGMENTS, shape)
    assert furthest(attended(inputs, scale=0.3), by_formula(inputs, SEGMENTS, 0.3)) < 1e-6
    (call,) = torchs
    assert call["cu_seq_q"].tolist() == call["cu_seq_k"].tolist() == [0, 5, 14, 16, 29, 32]
    assert (call["max_q"], call["max_k"], call["scale"]) == (16, 16, 0.3)
    assert call["window_size"] == (-1, 0)  # torch's word for causal
    assert call["enable_gqa"] == (shape is GROUPED)


def test_narrower_values_are_padded_for_the_kernel(flash: Calls) -> None:
    query, key, value = drawn(SEGMENTS)
    inputs = [query, key, value[..., :8]]
    assert furthest(attended(inputs), by_formula(inputs, SEGMENTS)) < 1e-6
    assert flash[0]["v"].shape[-1] == 16


def test_torchs_kernel_has_no_dropout(torchs: Calls) -> None:
    with pytest.raises(ConfigError, match=r"no dropout of attention\. Install flash_attn, or use model\."):
        attended(drawn(SEGMENTS), dropout=0.1)


def test_without_a_kernel_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older torch has a function of the name, without what is asked of it."""
    monkeypatch.setattr(varlen, "varlen_attn", lambda query, key, value, bounds, is_causal=False: query)
    with pytest.raises(ConfigError, match=r"Install one of them, or use model\.attention=auto"):
        kernel()
