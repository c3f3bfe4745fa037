"""Mistral (Jiang et al. 2023): Llama without biases, with a sliding window; Mixtral is its mixture of experts."""

from __future__ import annotations

from tunefleet.plan.families import gated
from tunefleet.plan.families.attention_layers import attention_linears
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    ConfigKeys,
    Dimensions,
    Experts,
    Family,
    Norm,
    Packing,
    ParameterCount,
    StageModules,
)
from tunefleet.plan.families.refusals import EXPERTS

_EXPERTS = Experts("num_local_experts", 8, "num_experts_per_tok", 2)


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return gated.parameters(size, tied)


def _count_experts(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    experts = int(config.get(_EXPERTS.total_key, _EXPERTS.total))
    expert = 3 * size.hidden * size.ffn
    return gated.parameters(size, tied, more=(experts - 1) * expert + experts * size.hidden)  # and a router


FAMILIES = (
    Family(
        "mistral",
        keys=ConfigKeys(kv_heads_required=True),
        count=_count,
        linears=gated.linears,
        activations=BlockActivations(Norm.RMS, gated=True),
        tensor=gated.TENSOR,
        packing=Packing(windowed=True),
        pipeline=StageModules(),
    ),
    Family("ministral", tensor=gated.TENSOR, packing=Packing(windowed=True)),
    Family("ministral3", tensor=gated.TENSOR, packing=Packing(windowed=True)),
    Family(
        "mixtral",
        keys=ConfigKeys(kv_heads_required=True),
        experts=_EXPERTS,
        count=_count_experts,
        linears=attention_linears,  # experts are no linear layers in transformers
        activations=BlockActivations(Norm.RMS, gated=True),
        tensor=EXPERTS,
        packing=Packing(windowed=True),
    ),
)
