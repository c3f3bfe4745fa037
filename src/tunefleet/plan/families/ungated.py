"""GPT-2 and its kin: a feed-forward of two matrices, norms and projections with bias."""

from __future__ import annotations

from functools import partial

from tunefleet.plan.families.attention_layers import attention_linears, head_widths, linear_parameters
from tunefleet.plan.families.family import Dimensions, LayerSizes, Linears, ParameterCount, TensorParallelPlan

TENSOR_FUSED = TensorParallelPlan(("query_key_value", "dense_h_to_4h"), ("dense", "dense_4h_to_h"))


def parameters(
    size: Dimensions,
    tied: bool,
    *,
    input_bias: bool = True,
    output_bias: bool = True,
    feed_forward_bias: bool = True,
    norms: int = 2,
    head_bias: bool = False,
    positions: int = 0,
) -> ParameterCount:
    """The parameters of such a model; `positions` are rows of a table of positions."""
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    attention = linear_parameters(size.hidden, queries + 2 * keys, input_bias)
    attention += linear_parameters(queries, size.hidden, output_bias)
    feed_forward = linear_parameters(size.hidden, size.ffn, feed_forward_bias)
    feed_forward += linear_parameters(size.ffn, size.hidden, feed_forward_bias)
    return ParameterCount(
        embedding=(size.vocab + positions) * size.hidden,
        layers=size.layers * (attention + feed_forward + norms * 2 * size.hidden),
        head=0 if tied else size.vocab * size.hidden,
        outside=2 * size.hidden + size.vocab * head_bias,
    )


def separate_linears(first: str, second: str, block: str = "self_attn", output: str = "o_proj") -> Linears:
    """The linear layers of a block with four for attention; `first` and `second` are those of the feed-forward."""
    return partial(_separate, f"mlp.{first}", f"mlp.{second}", block, output)


def _separate(first: str, second: str, block: str, output: str, size: Dimensions) -> dict[str, LayerSizes]:
    attention = attention_linears(size, block, output)
    return {**attention, first: (size.hidden, size.ffn), second: (size.ffn, size.hidden)}


def fused_linears(qkv: str, output: str, first: str, second: str) -> Linears:
    """The linear layers of a block with queries, keys and values in one; `first` and `second` as above."""
    return partial(_fused, qkv, output, first, second)


def _fused(qkv: str, output: str, first: str, second: str, size: Dimensions) -> dict[str, LayerSizes]:
    queries, keys = head_widths(size)
    return {
        qkv: (size.hidden, queries + 2 * keys),
        output: (queries, size.hidden),
        first: (size.hidden, size.ffn),
        second: (size.ffn, size.hidden),
    }
