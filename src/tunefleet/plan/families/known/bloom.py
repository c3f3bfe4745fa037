"""BLOOM (BigScience Workshop 2022) and MPT: ALiBi, which counts distances and has no positions."""

from __future__ import annotations

from dataclasses import replace

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
from tunefleet.plan.families.refusals import OWN_ATTENTION


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    counted = ungated.parameters(size, tied)
    return replace(counted, embedding=counted.embedding + 2 * size.hidden)  # a norm after the embedding


FAMILIES = (
    Family(
        "bloom",
        keys=ConfigKeys("n_layer", heads="n_head", ffn="", max_positions="", tied=True, ffn_ratio=4),
        count=_count,
        blocks="transformer.h",
        linears=ungated.fused_linears(
            "self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
        ),
        activations=BlockActivations(one_qkv_product=True, activation="gelu"),
        tensor="its ALiBi slopes are counted over all heads, and a rank has only some of them",
        packing=Packing(),
        attention=OWN_ATTENTION,
    ),
    Family("mpt", keys=ConfigKeys("n_layers", "d_model", "n_heads"), packing=Packing(), attention=OWN_ATTENTION),
)
