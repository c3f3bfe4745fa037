"""Falcon (Almazrouei et al. 2023): one key head for all query heads, or a few in its new decoder."""

from __future__ import annotations

from tunefleet.plan.families import ungated
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    ConfigKeys,
    Dimensions,
    Family,
    Packing,
    ParameterCount,
)
from tunefleet.plan.families.refusals import CARRIED_STATE, KEY_HEAD_SHARED, NO_SEGMENT_MASK, OWN_ATTENTION


def _kv_heads(config: Config) -> int | None:
    """One, or `num_kv_heads` in the new decoder, or one for each query head."""
    if config.get("new_decoder_architecture", False):
        return config.get("num_kv_heads")
    return 1 if config.get("multi_query", True) else None


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    bias, new = config.get("bias", False), config.get("new_decoder_architecture", False)
    parallel = config.get("parallel_attn", True)
    norms = (config.get("num_ln_in_parallel_attn") or 2) if new else 1 if parallel else 2
    return ungated.parameters(size, tied, input_bias=bias, output_bias=bias, feed_forward_bias=bias, norms=norms)


FAMILIES = (
    Family(
        "falcon",
        keys=ConfigKeys(ffn="ffn_hidden_size", max_positions="", tied=True, kv_heads=_kv_heads, ffn_ratio=4),
        count=_count,
        blocks="transformer.h",
        linears=ungated.fused_linears(
            "self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
        ),
        activations=BlockActivations(norms=1, one_qkv_product=True, values_are_views=True, activation="gelu"),
        tensor=f"{KEY_HEAD_SHARED}, or lie in one weight with theirs",
        packing=Packing(refused_with={"alibi": f"with ALiBi {NO_SEGMENT_MASK}"}),
        attention=OWN_ATTENTION,
    ),
    Family("falcon_h1", packing=CARRIED_STATE),
    Family("falcon_mamba", packing=CARRIED_STATE),
)
