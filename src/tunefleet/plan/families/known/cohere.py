"""Cohere's Command R: a gated feed-forward beside attention, one LayerNorm without bias, a tied embedding."""

from __future__ import annotations

from dataclasses import replace

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
from tunefleet.plan.families.refusals import HEAD_NORM_WEIGHTS


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    bias = config.get("attention_bias", False)
    norms = (size.heads + size.kv_heads) * size.head_dim if config.get("use_qk_norm", False) else 0
    return gated.parameters(size, tied, input_bias=bias, output_bias=bias, more=norms - size.hidden)


FAMILIES = (
    Family(
        "cohere",
        keys=ConfigKeys(tied=True),
        count=_count,
        linears=gated.linears,
        activations=BlockActivations(Norm.LAYER_WRITTEN_OUT, norms=1, gated=True),
        tensor=replace(gated.TENSOR, refused_with={"use_qk_norm": HEAD_NORM_WEIGHTS}),
        packing=Packing(),
    ),
    Family("cohere2", tensor=gated.TENSOR, packing=Packing(windowed=True)),
)
