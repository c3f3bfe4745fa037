"""StableLM (Bellagente et al. 2024): a gated feed-forward, and norms with bias."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.plan.families import gated
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    ConfigKeys,
    Dimensions,
    Family,
    Packing,
    ParameterCount,
)
from tunefleet.plan.families.refusals import HEAD_NORM_WEIGHTS


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    biases = 2 * size.hidden  # of two norms
    dropped = 2 * size.hidden if config.get("use_parallel_residual", False) else 0
    heads = (size.heads + size.kv_heads) * size.head_dim if config.get("qk_layernorm", False) else 0
    bias = config.get("use_qkv_bias", False)
    counted = gated.parameters(size, tied, input_bias=bias, more=biases - dropped + heads)
    return replace(counted, outside=2 * size.hidden)


FAMILIES = (
    Family(
        "stablelm",
        keys=ConfigKeys(kv_heads_required=True),
        count=_count,
        linears=gated.linears,
        activations=BlockActivations(gated=True),
        tensor=replace(gated.TENSOR, refused_with={"qk_layernorm": HEAD_NORM_WEIGHTS}),
        packing=Packing(),
    ),
)
