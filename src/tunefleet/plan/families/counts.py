"""How many weights does each family of models have: a formula for every model_type that we can count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Architecture = Mapping[str, Any]


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a causal language model, tied weights counted once."""

    embedding: int  # token and position embeddings, and the projections around them
    layers: int  # all transformer blocks together
    head: int  # output projection; 0 where tied to the embedding
    other: int  # norms outside the blocks, and the bias of the head

    @property
    def total(self) -> int:
        """All parameters of the model."""
        return self.embedding + self.layers + self.head + self.other


@dataclass(frozen=True)
class Dimensions:
    """Sizes of a causal language model, in words that all families share."""

    layers: int  # transformer blocks
    hidden: int  # width of the residual stream
    heads: int  # query heads
    kv_heads: int  # key and value heads
    head_dim: int  # width of one head
    ffn: int  # inner width of the feed-forward
    vocab: int  # rows of the token embedding
    max_positions: int  # tokens of context; 0 where nothing limits them


@dataclass(frozen=True)
class Family:
    """What sets a model_type apart: its formula, its names for the sizes, and what configs leave out."""

    count: Callable[[Architecture, Dimensions, bool], ParameterCount]
    layers: str = "num_hidden_layers"
    hidden: str = "hidden_size"
    heads: str = "num_attention_heads"
    ffn: str = "intermediate_size"
    max_positions: str = "max_position_embeddings"
    tied: bool = False  # tie_word_embeddings where it is left out
    kv_heads_required: bool = False  # elsewhere a key head for each query head
    kv_heads: Callable[[Architecture], int | None] = lambda architecture: architecture.get("num_key_value_heads")
    head_dim: int = 0  # where head_dim may be left out and is not hidden over heads
    ffn_ratio: int = 0  # feed-forward width over hidden width where it may be left out


def family(architecture: Architecture) -> Family:
    """The family of `architecture`. Raises ValueError for a model_type that cannot be counted."""
    name = architecture.get("model_type")
    if name not in _FAMILIES:
        raise ValueError(f"model_type {name} cannot be counted; known are {', '.join(FAMILIES)}")
    return _FAMILIES[name]


def _linear(inputs: int, outputs: int, bias: bool) -> int:
    return inputs * outputs + outputs * bias


def _opt(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    width = architecture.get("word_embed_proj_dim") or size.hidden  # of the token embedding
    bias = architecture.get("enable_bias", True)
    norm = 2 * size.hidden * architecture.get("layer_norm_elementwise_affine", True)
    norms_first = architecture.get("do_layer_norm_before", True)
    last_norm = norms_first and not architecture.get("_remove_final_layer_norm", False)
    attention = 4 * _linear(size.hidden, size.hidden, bias)
    feed_forward = _linear(size.hidden, size.ffn, bias) + _linear(size.ffn, size.hidden, bias)
    projections = 2 * size.hidden * width if width != size.hidden else 0  # in and out
    positions = (size.max_positions + 2) * size.hidden  # the first two rows are an offset
    return ParameterCount(
        embedding=size.vocab * width + positions + projections,
        layers=size.layers * (attention + feed_forward + 2 * norm),
        head=0 if tied else size.vocab * width,
        other=norm if last_norm else 0,
    )


def _gpt2(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    return _plain(size, tied, positions=size.max_positions)


def _gpt_neox(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", True)
    return _plain(size, tied, input_bias=bias, output_bias=bias)


def _gptj(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    return _plain(size, tied, input_bias=False, output_bias=False, norms=1, head_bias=True)


def _phi(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    counted = _plain(size, tied, norms=1, head_bias=True)
    per_head = 4 * size.head_dim if architecture.get("qk_layernorm", False) else 0
    return replace(counted, layers=counted.layers + size.layers * per_head)


def _starcoder2(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("use_bias", True)
    return _plain(size, tied, input_bias=bias, output_bias=bias, feed_forward_bias=bias)


def _bloom(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    counted = _plain(size, tied)
    return replace(counted, embedding=counted.embedding + 2 * size.hidden)  # a norm after the embedding


def _falcon(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias, new = architecture.get("bias", False), architecture.get("new_decoder_architecture", False)
    parallel = architecture.get("parallel_attn", True)
    norms = (architecture.get("num_ln_in_parallel_attn") or 2) if new else 1 if parallel else 2
    return _plain(size, tied, input_bias=bias, output_bias=bias, feed_forward_bias=bias, norms=norms)


def _plain(
    size: Dimensions,
    tied: bool,
    *,
    input_bias: bool = True,
    output_bias: bool = True,
    feed_forward_bias: bool = True,
    norms: int = 2,
    head_bias: bool = False,
    positions: int = 0,
) -> ParameterCount:
    """Blocks with a feed-forward of two matrices and norms with bias: GPT-2 and its kin."""
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    attention = _linear(size.hidden, queries + 2 * keys, input_bias) + _linear(queries, size.hidden, output_bias)
    feed_forward = _linear(size.hidden, size.ffn, feed_forward_bias) + _linear(size.ffn, size.hidden, feed_forward_bias)
    return ParameterCount(
        embedding=(size.vocab + positions) * size.hidden,
        layers=size.layers * (attention + feed_forward + norms * 2 * size.hidden),
        head=0 if tied else size.vocab * size.hidden,
        other=2 * size.hidden + size.vocab * head_bias,
    )


def _llama(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", False)
    feed_forward_bias = architecture.get("mlp_bias", False)
    return _gated(size, tied, input_bias=bias, output_bias=bias, feed_forward_bias=feed_forward_bias)


def _no_bias(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    return _gated(size, tied)


def _qwen2(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    return _gated(size, tied, input_bias=True)


def _qwen3(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", False)
    return _gated(size, tied, input_bias=bias, output_bias=bias, more=2 * size.head_dim)


def _gemma(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", False)
    return _gated(size, tied, input_bias=bias, output_bias=bias)


def _gemma2(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", False)
    return _gated(size, tied, input_bias=bias, output_bias=bias, more=2 * size.hidden)


def _gemma3(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", False)
    return _gated(size, tied, input_bias=bias, output_bias=bias, more=2 * size.hidden + 2 * size.head_dim)


def _olmo2(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", False)
    norms = (size.heads + size.kv_heads) * size.head_dim
    return _gated(size, tied, input_bias=bias, output_bias=bias, more=norms)


def _cohere(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    bias = architecture.get("attention_bias", False)
    norms = (size.heads + size.kv_heads) * size.head_dim if architecture.get("use_qk_norm", False) else 0
    return _gated(size, tied, input_bias=bias, output_bias=bias, more=norms - size.hidden)


def _stablelm(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    biases = 2 * size.hidden  # of two norms
    dropped = 2 * size.hidden if architecture.get("use_parallel_residual", False) else 0
    heads = (size.heads + size.kv_heads) * size.head_dim if architecture.get("qk_layernorm", False) else 0
    bias = architecture.get("use_qkv_bias", False)
    counted = _gated(size, tied, input_bias=bias, more=biases - dropped + heads)
    return replace(counted, other=2 * size.hidden)


def _mixtral(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    experts = int(architecture.get("num_local_experts", 8))
    one = 3 * size.hidden * size.ffn
    return _gated(size, tied, more=(experts - 1) * one + experts * size.hidden)  # and a router


def _gated(
    size: Dimensions,
    tied: bool,
    *,
    input_bias: bool = False,
    output_bias: bool = False,
    feed_forward_bias: bool = False,
    more: int = 0,
) -> ParameterCount:
    """Blocks with grouped heads, a gated feed-forward and norms without bias: Llama and its kin.

    `more` is what a family has besides, in each block.
    """
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    attention = _linear(size.hidden, queries + 2 * keys, input_bias)
    attention += _linear(queries, size.hidden, output_bias)
    feed_forward = 2 * _linear(size.hidden, size.ffn, feed_forward_bias)  # gate and up
    feed_forward += _linear(size.ffn, size.hidden, feed_forward_bias)
    return ParameterCount(
        embedding=size.vocab * size.hidden,
        layers=size.layers * (attention + feed_forward + 2 * size.hidden + more),
        head=0 if tied else size.vocab * size.hidden,
        other=size.hidden,
    )


def _heads_of_falcon(architecture: Architecture) -> int | None:
    """Falcon has one key head, or `num_kv_heads` in its new decoder, or one for each query head."""
    if architecture.get("new_decoder_architecture", False):
        return architecture.get("num_kv_heads")
    return 1 if architecture.get("multi_query", True) else None


_FAMILIES = {
    "opt": Family(_opt, ffn="ffn_dim", tied=True),
    "llama": Family(_llama),
    "mistral": Family(_no_bias, kv_heads_required=True),
    "qwen2": Family(_qwen2, kv_heads_required=True),
    "gpt2": Family(_gpt2, "n_layer", "n_embd", "n_head", "n_inner", "n_positions", tied=True, ffn_ratio=4),
    "gpt_neox": Family(_gpt_neox),
    "qwen3": Family(_qwen3, kv_heads_required=True, head_dim=128),
    "gemma": Family(_gemma, kv_heads_required=True, head_dim=256, tied=True),
    "gemma2": Family(_gemma2, kv_heads_required=True, head_dim=256, tied=True),
    "gemma3_text": Family(_gemma3, kv_heads_required=True, head_dim=256, tied=True),
    "phi": Family(_phi),
    "phi3": Family(_no_bias),
    "olmo2": Family(_olmo2),
    "olmo3": Family(_olmo2),
    "cohere": Family(_cohere, tied=True),
    "stablelm": Family(_stablelm, kv_heads_required=True),
    "starcoder2": Family(_starcoder2, kv_heads_required=True, tied=True),
    "mixtral": Family(_mixtral, kv_heads_required=True),
    "granite": Family(_llama),
    "gptj": Family(_gptj, "n_layer", "n_embd", "n_head", "n_inner", "n_positions", ffn_ratio=4),
    "bloom": Family(_bloom, "n_layer", heads="n_head", ffn="", max_positions="", tied=True, ffn_ratio=4),
    "falcon": Family(
        _falcon, ffn="ffn_hidden_size", max_positions="", tied=True, kv_heads=_heads_of_falcon, ffn_ratio=4
    ),
}

FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
"""The model_types that can be counted."""
