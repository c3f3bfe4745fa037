"""Document attention: every conversation of a row attends over itself alone, without a mask of length x length.

A mask costs the square of the row's length, whatever is in the row: attention computes every pair of tokens, and most
pairs are of two conversations. Here each conversation is a causal attention of its own, so that the cost is that of the
conversations, however long the rows are that they are packed to (`python -m benchmarks.attention`).

On a CPU they are computed one after another by torch's own kernel, through one node of autograd for all; on a GPU all
of them by one kernel (`model/varlen_attention.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tunefleet.libraries import torch_private, transformers_private
from tunefleet.model.varlen_attention import varlen_attention

_NAME = "by_document"
_FP32_BELOW = 512
"""Tokens below which 16-bit numbers are attended in fp32: bf16 takes up to 2.6 times as long
(measured on a CPU with AVX-512 BF16, torch 2.13; `python -m benchmarks.attention --kernel`)."""


@contextmanager
def by_document(model: PreTrainedModel) -> Iterator[None]:
    """Within, `model` attends over what `bounds` tells apart where that is its mask, and through SDPA elsewhere.

    transformers makes no mask for an attention that it does not know, and looks at no positions to make one.
    """
    with transformers_private.attention_as(model.config, _NAME):
        yield


def bounds(segments: Tensor) -> Tensor:
    """Where documents begin among the tokens of all rows, and where the last one ends: int32 [1, 1, 1, documents + 1].

    Four dimensions, because transformers hands a mask of four dimensions on to attention as it is.
    """
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    end = torch.tensor([segments.numel()], device=segments.device)
    return torch.cat([begins.flatten().nonzero()[:, 0], end]).int()[None, None, None]


def longest(document_bounds: Tensor) -> int:
    """The tokens of the longest document."""
    return int(document_bounds.diff().max())


def can_compute(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether documents are told apart without a mask there: kernels of GPUs take 16-bit numbers."""
    return device.type == "cpu" or dtype in (torch.float16, torch.bfloat16)


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """From [rows, heads, length, width] to [rows, length, heads, width]; `attention_mask` are `bounds`, or a mask."""
    if attention_mask is None or attention_mask.is_floating_point() or attention_mask.dtype is torch.bool:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return output, None
    dropped, scale = settings.get("dropout", 0.0), settings.get("scaling")
    unknown = {name for name in ("softcap", "s_aux", "position_bias") if settings.get(name) is not None}
    assert not unknown, f"attention by document has no {', '.join(unknown)}"
    tokens, ends = [_tokens(heads) for heads in (query, key, value)], attention_mask.flatten()
    if query.is_cpu:
        output = _attend(tokens, ends.diff().tolist(), dropped, scale)
    else:
        output = varlen_attention(tokens, ends, query.shape[2], dropped, scale)
    return output.view(query.shape[0], query.shape[2], *output.shape[1:]), None


AttentionInterface.register(_NAME, attention)


def _tokens(heads: Tensor) -> Tensor:
    """[rows, heads, length, width] to [rows x length, heads, width], in autocast's dtype where there is one."""
    device = heads.device.type
    if torch.is_autocast_enabled(device):
        heads = heads.to(torch.get_autocast_dtype(device))
    return heads.transpose(1, 2).flatten(0, 1)


def _attend(tokens: list[Tensor], lengths: list[int], dropped: float, scale: float | None) -> Tensor:
    query, _, value = tokens
    if dropped or query.shape[-1] != value.shape[-1] or query.dtype is torch.float16:
        return _one_by_one(tokens, lengths, dropped, scale)
    return cast(Tensor, _Documents.apply(*tokens, lengths, scale))  # type: ignore[no-untyped-call]


class _Documents(torch.autograd.Function):
    """Causal attention of documents one after another, on a CPU: [tokens, heads, width] of all of them."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scale: float | None) -> Tensor:
        output, normalizer = torch.empty_like(query), query.new_empty(query.shape[:2], dtype=torch.float32)
        for query_i, key_i, value_i, output_i, normalizer_i in _split(lengths, query, key, value, output, normalizer):
            attended, sums = torch_private.causal_attention(_inputs(query_i, key_i, value_i), scale)
            output_i.copy_(attended[0].transpose(0, 1))
            normalizer_i.copy_(sums[0].T)
        ctx.save_for_backward(query, key, value, output, normalizer)
        ctx.lengths, ctx.scale = lengths, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        saved = ctx.saved_tensors
        results = [torch.empty_like(tensor) for tensor in saved[:3]]
        for *inputs, normalizer_i, to_query, to_key, to_value in _split(ctx.lengths, gradients[0], *saved, *results):
            gradient, *attended, output = _inputs(*inputs)
            computed = torch_private.causal_attention_gradients(
                gradient, attended, output, normalizer_i.T[None], ctx.scale
            )
            for to, result in zip((to_query, to_key, to_value), computed, strict=True):
                to.copy_(result[0].transpose(0, 1))
        return results[0], results[1], results[2], None, None


def _split(lengths: list[int], *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The parts of `tensors` that are of one document, for each of them."""
    return zip(*(torch.split(tensor, lengths) for tensor in tensors), strict=True)


def _inputs(*tokens: Tensor) -> list[Tensor]:
    """[length, heads, width] to [1, heads, length, width], in fp32 where that is faster."""
    in_fp32 = len(tokens[0]) < _FP32_BELOW
    heads = [tensor.transpose(0, 1)[None] for tensor in tokens]
    return [tensor.float() for tensor in heads] if in_fp32 else heads


def _one_by_one(tokens: list[Tensor], lengths: list[int], dropped: float, scale: float | None) -> Tensor:
    """The same through SDPA, which has dropout, and values of another width than keys."""
    settings: dict[str, Any] = {"is_causal": True, "dropout_p": dropped, "scale": scale}
    settings["enable_gqa"] = tokens[0].shape[1] > tokens[1].shape[1]
    outputs = []
    for document in _split(lengths, *tokens):
        query, key, value = (tensor.transpose(0, 1)[None] for tensor in document)
        outputs.append(scaled_dot_product_attention(query, key, value, **settings)[0].transpose(0, 1))
    return torch.cat(outputs)
