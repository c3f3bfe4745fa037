"""OLMo (Groeneveld et al. 2024): Llama, from OLMo 2 on with norms over all heads at once."""

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
)
from tunefleet.plan.families.refusals import EXPERTS, OVER_ALL_HEADS


def _count_2(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    bias = config.get("attention_bias", False)
    norms = (size.heads + size.kv_heads) * size.head_dim
    return gated.parameters(size, tied, input_bias=bias, output_bias=bias, more=norms)


_ACTIVATIONS_2 = BlockActivations(Norm.RMS_FP32, head_norms=True, gated=True)

FAMILIES = (
    Family("olmo", tensor=gated.TENSOR, packing=Packing()),
    Family(
        "olmo2",
        count=_count_2,
        linears=gated.linears,
        activations=_ACTIVATIONS_2,
        tensor=OVER_ALL_HEADS,
        packing=Packing(),
    ),
    Family(
        "olmo3",
        count=_count_2,
        linears=gated.linears,
        activations=_ACTIVATIONS_2,
        tensor=OVER_ALL_HEADS,
        packing=Packing(windowed=True),
    ),
    Family("olmoe", tensor=EXPERTS, packing=Packing()),
)
