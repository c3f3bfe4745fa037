"""Phi (Microsoft): attention beside the feed-forward; Phi 3 is a Llama whose projections are joined."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.plan.families import gated, ungated
from tunefleet.plan.families.attention_layers import QKV, head_widths
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    Dimensions,
    Family,
    LayerSizes,
    Norm,
    Packing,
    ParameterCount,
    TensorParallelPlan,
)


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    counted = ungated.parameters(size, tied, norms=1, head_bias=True)
    per_head = 4 * size.head_dim if config.get("qk_layernorm", False) else 0
    return replace(counted, layers=counted.layers + size.layers * per_head)


def _count_3(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return gated.parameters(size, tied)


def _linears_3(size: Dimensions) -> dict[str, LayerSizes]:
    queries, keys = head_widths(size)
    return {
        "self_attn.o_proj": (queries, size.hidden),
        "self_attn.qkv_proj": (size.hidden, queries + 2 * keys),
        "mlp.gate_up_proj": (size.hidden, 2 * size.ffn),
        "mlp.down_proj": (size.ffn, size.hidden),
    }


FAMILIES = (
    Family(
        "phi",
        count=_count,
        linears=ungated.separate_linears("fc1", "fc2", output="dense"),
        activations=BlockActivations(norms=1, activation="gelu_new"),
        tensor=TensorParallelPlan((*QKV, "fc1"), ("dense", "fc2"), ("q_layernorm", "k_layernorm")),
        packing=Packing(),
    ),
    Family(
        "phi3",
        count=_count_3,
        linears=_linears_3,
        activations=BlockActivations(
            Norm.RMS, one_qkv_product=True, values_are_views=True, gated=True, one_gate_up_product=True
        ),
        tensor="it has queries, keys and values in one weight, one after another, and so gate and up",
        packing=Packing(windowed=True),
    ),
)
