"""GPT-NeoX, GPT-J and GPT-Neo (EleutherAI), and those made after them: attention beside the feed-forward."""

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
    StageModules,
    TensorParallelPlan,
)
from tunefleet.plan.families.refusals import OWN_ATTENTION

_GPTJ_KEYS = ConfigKeys("n_layer", "n_embd", "n_head", "n_inner", "n_positions", ffn_ratio=4)


def _count_neox(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    bias = config.get("attention_bias", True)
    return ungated.parameters(size, tied, input_bias=bias, output_bias=bias)


def _count_gptj(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    return ungated.parameters(size, tied, input_bias=False, output_bias=False, norms=1, head_bias=True)


FAMILIES = (
    Family(
        "gpt_neox",
        count=_count_neox,
        blocks="gpt_neox.layers",
        linears=ungated.fused_linears(
            "attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"
        ),
        activations=BlockActivations(one_qkv_product=True, values_are_views=True, activation="gelu"),
        tensor=ungated.TENSOR_FUSED,
        packing=Packing(),
        pipeline=StageModules(before_blocks=("emb_dropout",), after_blocks=("final_layer_norm",)),
    ),
    Family("gpt_neox_japanese", packing=Packing(), attention=OWN_ATTENTION),
    Family(
        "gptj",
        keys=_GPTJ_KEYS,
        count=_count_gptj,
        blocks="transformer.h",
        linears=ungated.separate_linears("fc_in", "fc_out", block="attn", output="out_proj"),
        activations=BlockActivations(norms=1, scores=True, activation="gelu_new"),
        tensor=TensorParallelPlan((*QKV, "fc_in"), ("out_proj", "fc_out")),
        packing=Packing(),
        attention=OWN_ATTENTION,
    ),
    Family("codegen", keys=_GPTJ_KEYS, packing=Packing(), attention=OWN_ATTENTION),
    Family(
        "gpt_neo",
        keys=ConfigKeys(layers="num_layers", heads="num_heads"),
        tensor=TensorParallelPlan((*QKV, "c_fc"), ("out_proj", "c_proj")),
        packing=Packing(),
        attention=OWN_ATTENTION,
    ),
)
