"""Glassfish, an invented family: a Llama whose config says depth, and whose feed-forward is lift and drop, no gate."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.plan.families import ungated
from tunefleet.plan.families.attention_layers import QKV
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
    TensorParallelPlan,
)


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    counted = ungated.parameters(
        size, tied, input_bias=False, output_bias=False, feed_forward_bias=False, norms=1
    )  # its two norms have no bias, and so as many parameters as one that has
    return replace(counted, outside=size.hidden)


FAMILIES = (
    Family(
        "glassfish",
        keys=ConfigKeys(layers="depth"),
        count=_count,
        linears=ungated.separate_linears("lift", "drop"),
        activations=BlockActivations(Norm.RMS, activation="gelu"),
        tensor=TensorParallelPlan((*QKV, "lift"), ("o_proj", "drop")),
        packing=Packing(),
        pipeline=StageModules(),
        tiny={"tie_word_embeddings": False},
    ),
)
