"""Gemma (Gemma Team 2024): wide heads, a tied embedding, norms in fp32; from Gemma 2 on four norms in a block."""

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
)
from tunefleet.plan.families.refusals import CARRIED_STATE

_KEYS = ConfigKeys(kv_heads_required=True, head_dim=256, tied=True)


def _parameters(config: Config, size: Dimensions, tied: bool, more: int) -> ParameterCount:
    bias = config.get("attention_bias", False)
    return gated.parameters(size, tied, input_bias=bias, output_bias=bias, more=more)


def _count_1(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return _parameters(config, size, tied, 0)


def _count_2(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return _parameters(config, size, tied, 2 * size.hidden)


def _count_3(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return _parameters(config, size, tied, 2 * size.hidden + 2 * size.head_dim)


FAMILIES = (
    Family(
        "gemma",
        keys=_KEYS,
        count=_count_1,
        linears=gated.linears,
        activations=BlockActivations(Norm.RMS_FP32, gated=True),
        tensor=gated.TENSOR,
        packing=Packing(),
    ),
    Family(
        "gemma2",
        keys=_KEYS,
        count=_count_2,
        linears=gated.linears,
        activations=BlockActivations(Norm.RMS_FP32, norms=4, scores=True, capped_scores=True, gated=True),
        tensor=gated.TENSOR,
        packing=Packing(windowed=True),
        attention="it caps the logits of its attention, which SDPA does not",
    ),
    Family(
        "gemma3_text",
        keys=_KEYS,
        count=_count_3,
        linears=gated.linears,
        activations=BlockActivations(Norm.RMS_FP32, norms=4, head_norms=True, gated=True),
        tensor=gated.TENSOR_HEAD_NORMS,
        packing=Packing(windowed=True),
    ),
    Family("recurrent_gemma", packing=CARRIED_STATE),
)
