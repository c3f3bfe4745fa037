"""Llama and its kin: grouped heads, a feed-forward of gate, up and down, norms without bias."""

from __future__ import annotations

from tunefleet.plan.families.attention_layers import QKV, attention_linears, linear_parameters
from tunefleet.plan.families.family import Dimensions, LayerSizes, ParameterCount, TensorParallelPlan

COLUMNS, ROWS = (*QKV, "gate_proj", "up_proj"), ("o_proj", "down_proj")
TENSOR = TensorParallelPlan(COLUMNS, ROWS)
TENSOR_HEAD_NORMS = TensorParallelPlan(COLUMNS, ROWS, ("q_norm", "k_norm"))
TENSOR_NO_GATE = TensorParallelPlan((*QKV, "up_proj"), ROWS)


def parameters(
    size: Dimensions,
    tied: bool,
    *,
    input_bias: bool = False,
    output_bias: bool = False,
    feed_forward_bias: bool = False,
    more: int = 0,
) -> ParameterCount:
    """The parameters of such a model. `more` is what a family has besides, in each block."""
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    attention = linear_parameters(size.hidden, queries + 2 * keys, input_bias)
    attention += linear_parameters(queries, size.hidden, output_bias)
    feed_forward = 2 * linear_parameters(size.hidden, size.ffn, feed_forward_bias)  # gate and up
    feed_forward += linear_parameters(size.ffn, size.hidden, feed_forward_bias)
    return ParameterCount(
        embedding=size.vocab * size.hidden,
        layers=size.layers * (attention + feed_forward + 2 * size.hidden + more),
        head=0 if tied else size.vocab * size.hidden,
        outside=size.hidden,
    )


def linears(size: Dimensions) -> dict[str, LayerSizes]:
    """The linear layers of a block."""
    return {
        **attention_linears(size),
        **{f"mlp.{name}_proj": (size.hidden, size.ffn) for name in ("gate", "up")},
        "mlp.down_proj": (size.ffn, size.hidden),
    }
