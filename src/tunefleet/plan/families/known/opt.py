"""OPT (Zhang et al. 2022): a table of positions, a feed-forward of two matrices, an embedding that may be narrower."""

from __future__ import annotations

from tunefleet.plan.families.attention_layers import QKV, attention_linears, linear_parameters
from tunefleet.plan.families.family import (
    BlockActivations,
    Config,
    ConfigKeys,
    Dimensions,
    Family,
    LayerSizes,
    Packing,
    ParameterCount,
    StageModules,
    TensorParallelPlan,
)


def _embedding_width(config: Config, size: Dimensions) -> int:
    return config.get("word_embed_proj_dim") or size.hidden  # OPT-350m's is narrower


def _count(config: Config, size: Dimensions, tied: bool) -> ParameterCount:
    width = _embedding_width(config, size)
    bias = config.get("enable_bias", True)
    norm = 2 * size.hidden * config.get("layer_norm_elementwise_affine", True)
    norms_first = config.get("do_layer_norm_before", True)
    last_norm = norms_first and not config.get("_remove_final_layer_norm", False)
    attention = 4 * linear_parameters(size.hidden, size.hidden, bias)
    feed_forward = linear_parameters(size.hidden, size.ffn, bias) + linear_parameters(size.ffn, size.hidden, bias)
    projections = 2 * size.hidden * width if width != size.hidden else 0  # in and out
    positions = (size.max_positions + 2) * size.hidden  # the first two rows are an offset
    return ParameterCount(
        embedding=size.vocab * width + positions + projections,
        layers=size.layers * (attention + feed_forward + 2 * norm),
        head=0 if tied else size.vocab * width,
        outside=norm if last_norm else 0,
    )


def _linears(size: Dimensions) -> dict[str, LayerSizes]:
    attention = attention_linears(size, output="out_proj")
    return {**attention, "fc1": (size.hidden, size.ffn), "fc2": (size.ffn, size.hidden)}


def _projections(config: Config, size: Dimensions) -> dict[str, LayerSizes]:
    width = _embedding_width(config, size)
    if width == size.hidden:
        return {}
    return {"model.decoder.project_in": (width, size.hidden), "model.decoder.project_out": (size.hidden, width)}


FAMILIES = (
    Family(
        "opt",
        keys=ConfigKeys(ffn="ffn_dim", tied=True),
        count=_count,
        blocks="model.decoder.layers",
        linears=_linears,
        linears_outside=_projections,
        activations=BlockActivations(activation="relu"),
        tensor=TensorParallelPlan((*QKV, "fc1"), ("out_proj", "fc2")),
        packing=Packing(),
        pipeline=StageModules(
            positions="decoder.embed_positions",
            before_blocks=("decoder.project_in",),
            after_blocks=("decoder.final_layer_norm", "decoder.project_out"),
        ),
        tiny={
            "do_layer_norm_before": True,
            "activation_function": "gelu",  # a sign that rounding flips at ReLU's kink is 1e-4 of a gradient norm
            "dropout": 0.0,
            "attention_dropout": 0.0,
        },
        bpe_tokens={"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"},
    ),
)
