"""Qwen (Yang et al. 2024): Llama with biases of queries, keys and values, from Qwen 3 on with norms of heads."""

from __future__ import annotations

from tunefleet.plan.families import gated
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    ConfigKeys,
    Dimensions,
    Family,
    Norm,
    Packing,
    ParameterCount,
    StageModules,
)
from tunefleet.plan.families.refusals import CARRIED_STATE, EXPERTS


def _count_2(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return gated.parameters(size, tied, input_bias=True)


def _count_3(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    bias = config.get("attention_bias", False)
    return gated.parameters(size, tied, input_bias=bias, output_bias=bias, more=2 * size.head_dim)


FAMILIES = (
    Family(
        "qwen2",
        keys=ConfigKeys(kv_heads_required=True),
        count=_count_2,
        linears=gated.linears,
        activations=BlockActivations(Norm.RMS, gated=True),
        tensor=gated.TENSOR,
        packing=Packing(windowed=True),
        pipeline=StageModules(),
    ),
    Family(
        "qwen3",
        keys=ConfigKeys(kv_heads_required=True, head_dim=128),
        count=_count_3,
        linears=gated.linears,
        activations=BlockActivations(Norm.RMS, head_norms=True, gated=True),
        tensor=gated.TENSOR_HEAD_NORMS,
        packing=Packing(windowed=True),
    ),
    Family("qwen2_moe", tensor=EXPERTS, packing=Packing(windowed=True)),
    Family("qwen3_moe", tensor=EXPERTS, packing=Packing(windowed=True)),
    Family("qwen3_next", tensor=EXPERTS, packing=CARRIED_STATE),
)
