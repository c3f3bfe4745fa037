"""Attention layers: the linear layers of attention, and the parameters of a linear layer."""

from __future__ import annotations

from tunefleet.plan.families.family import Dimensions, LayerSizes

QKV = ("q_proj", "k_proj", "v_proj")


def linear_parameters(inputs: int, outputs: int, bias: bool) -> int:
    """The parameters of one linear layer."""
    return inputs * outputs + outputs * bias


def attention_linears(size: Dimensions, block: str = "self_attn", output: str = "o_proj") -> dict[str, LayerSizes]:
    """Queries, keys, values and the output, each in a layer of its own."""
    queries, keys = head_widths(size)
    return {
        f"{block}.q_proj": (size.hidden, queries),
        f"{block}.k_proj": (size.hidden, keys),
        f"{block}.v_proj": (size.hidden, keys),
        f"{block}.{output}": (queries, size.hidden),
    }


def head_widths(size: Dimensions) -> tuple[int, int]:
    """The width of all query heads, and that of all key heads."""
    return size.heads * size.head_dim, size.kv_heads * size.head_dim
