"""Llama (Touvron et al. 2023): rotary positions, grouped heads, a gated feed-forward, RMS norms."""

from __future__ import annotations

from tunefleet.plan.families import gated
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    Dimensions,
    Family,
    Norm,
    Packing,
    ParameterCount,
    StageModules,
)


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    bias = config.get("attention_bias", False)
    feed_forward_bias = config.get("mlp_bias", False)
    return gated.parameters(size, tied, input_bias=bias, output_bias=bias, feed_forward_bias=feed_forward_bias)


FAMILIES = (
    Family(
        "llama",
        count=_count,
        linears=gated.linears,
        activations=BlockActivations(Norm.RMS, gated=True),
        tensor=gated.TENSOR,
        packing=Packing(),
        pipeline=StageModules(),
        tiny={"tie_word_embeddings": False},
    ),
    Family("llama4_text", packing="it attends in chunks that are counted from the start of a sequence"),
)
