"""StarCoder 2 (Lozhkov et al. 2024): grouped heads and a feed-forward of two matrices, all with bias."""

from __future__ import annotations

from tunefleet.plan.families import ungated
from tunefleet.plan.families.attention_layers import QKV
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    ConfigKeys,
    Dimensions,
    Family,
    Packing,
    ParameterCount,
    TensorParallelPlan,
)


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    bias = config.get("use_bias", True)
    return ungated.parameters(size, tied, input_bias=bias, output_bias=bias, feed_forward_bias=bias)


FAMILIES = (
    Family(
        "starcoder2",
        keys=ConfigKeys(kv_heads_required=True, tied=True),
        count=_count,
        linears=ungated.separate_linears("c_fc", "c_proj"),
        activations=BlockActivations(activation="gelu_pytorch_tanh"),
        tensor=TensorParallelPlan((*QKV, "c_fc"), ("o_proj", "c_proj")),
        packing=Packing(windowed=True),
    ),
)
