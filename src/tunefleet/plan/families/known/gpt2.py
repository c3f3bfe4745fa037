"""GPT-2 (Radford et al. 2019) and its kin: transposed projections, queries, keys and values in one."""

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
    StageModules,
)
from tunefleet.plan.families.refusals import KEY_HEAD_SHARED, NO_SEGMENT_MASK


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return ungated.parameters(size, tied, positions=size.max_positions)


FAMILIES = (
    Family(
        "gpt2",
        keys=ConfigKeys("n_layer", "n_embd", "n_head", "n_inner", "n_positions", tied=True, ffn_ratio=4),
        count=_count,
        blocks="transformer.h",
        linears=ungated.fused_linears("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
        activations=BlockActivations(one_qkv_product=True, activation="gelu_new"),
        tensor="its projections are stored transposed (Conv1D), which DeepSpeed does not shard for training",
        packing=Packing(),
        pipeline=StageModules("wpe", ("drop",), ("ln_f",)),
    ),
    Family(
        "gpt_bigcode",
        keys=ConfigKeys("n_layer", "n_embd", "n_head", "n_inner", "n_positions"),
        tensor=KEY_HEAD_SHARED,
        packing=Packing(),
    ),
    Family(
        "openai-gpt",
        keys=ConfigKeys("n_layer", "n_embd", "n_head", "n_inner", "n_positions"),
        packing=NO_SEGMENT_MASK,
    ),
    Family("ctrl", keys=ConfigKeys("n_layer", "n_embd", "n_head", "dff", "n_positions"), packing=Packing()),
)
