"""How many parameters an architecture has: arithmetic on a config.json, without torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Architecture = Mapping[str, Any]


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a causal language model, tied weights counted once."""

    embedding: int  # token and position embeddings, and the projections around them
    layers: int  # all transformer blocks together
    head: int  # output projection; 0 where tied to the embedding
    other: int  # norms outside the blocks

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
    max_positions: int  # tokens of context


def count(architecture: Architecture) -> ParameterCount:
    """Parameters of `architecture`, the content of a config.json.

    Raises ValueError for a model_type outside FAMILIES, and names a key that is missing or senseless.
    """
    family = _family(architecture)
    tied = architecture.get("tie_word_embeddings", family.tied)
    return family.count(architecture, dimensions(architecture), tied)


def set_layers(architecture: Architecture, num_layers: int) -> dict[str, Any]:
    """A copy of `architecture` with `num_layers` transformer blocks.

    A list of layer kinds is left out, since it fits the old depth only; transformers derives it again.
    Raises ValueError for a model_type outside FAMILIES and for fewer than one layer.
    """
    if num_layers < 1:
        raise ValueError(f"a model needs at least 1 layer, not {num_layers}")
    changed = {key: copy.deepcopy(value) for key, value in architecture.items() if key != "layer_types"}
    return changed | {_family(architecture).layers: num_layers}


def dimensions(architecture: Architecture) -> Dimensions:
    """Sizes of `architecture` in family-independent words; all are counts of rows, heads or tokens.

    Raises ValueError for a model_type outside FAMILIES, and names a key that is missing or senseless.
    """
    family = _family(architecture)
    hidden = _size(architecture, family.hidden)
    heads = _size(architecture, family.heads)
    return Dimensions(
        layers=_size(architecture, family.layers),
        hidden=hidden,
        heads=heads,
        kv_heads=_size(architecture, "num_key_value_heads", None if family.kv_heads_required else heads),
        head_dim=_head_dim(architecture, hidden, heads),
        ffn=_size(architecture, family.ffn, hidden * family.ffn_ratio or None),
        vocab=_size(architecture, "vocab_size"),
        max_positions=_size(architecture, family.max_positions),
    )


def _size(architecture: Architecture, key: str, default: int | None = None) -> int:
    value = architecture.get(key)
    value = default if value is None else value
    if value is None:
        raise ValueError(f"the {architecture['model_type']} architecture lacks the key {key}")
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{key} must be a positive whole number, not {value!r}")
    return value


def _head_dim(architecture: Architecture, hidden: int, heads: int) -> int:
    if architecture.get("head_dim") is None and hidden % heads:
        raise ValueError(f"a hidden size of {hidden} does not divide into {heads} attention heads")
    return _size(architecture, "head_dim", hidden // heads)


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
    norm = 2 * size.hidden
    attention = _linear(size.hidden, 3 * size.hidden, True) + _linear(size.hidden, size.hidden, True)
    feed_forward = _linear(size.hidden, size.ffn, True) + _linear(size.ffn, size.hidden, True)
    return ParameterCount(
        embedding=(size.vocab + size.max_positions) * size.hidden,
        layers=size.layers * (attention + feed_forward + 2 * norm),
        head=0 if tied else size.vocab * size.hidden,
        other=norm,
    )


def _gpt_neox(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    norm = 2 * size.hidden
    bias = architecture.get("attention_bias", True)
    attention = _linear(size.hidden, 3 * size.hidden, bias) + _linear(size.hidden, size.hidden, bias)
    feed_forward = _linear(size.hidden, size.ffn, True) + _linear(size.ffn, size.hidden, True)
    return ParameterCount(
        embedding=size.vocab * size.hidden,
        layers=size.layers * (attention + feed_forward + 2 * norm),
        head=0 if tied else size.vocab * size.hidden,
        other=norm,
    )


def _llama(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    attention_bias = architecture.get("attention_bias", False)
    return _gated(size, tied, attention_bias, attention_bias, architecture.get("mlp_bias", False))


def _mistral(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    return _gated(size, tied, input_bias=False, output_bias=False, feed_forward_bias=False)


def _qwen2(architecture: Architecture, size: Dimensions, tied: bool) -> ParameterCount:
    return _gated(size, tied, input_bias=True, output_bias=False, feed_forward_bias=False)


def _gated(
    size: Dimensions, tied: bool, input_bias: bool, output_bias: bool, feed_forward_bias: bool
) -> ParameterCount:
    """Blocks with grouped heads, a gated feed-forward and norms without bias: Llama and its kin."""
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    attention = _linear(size.hidden, queries + 2 * keys, input_bias)
    attention += _linear(queries, size.hidden, output_bias)
    feed_forward = 2 * _linear(size.hidden, size.ffn, feed_forward_bias)  # gate and up
    feed_forward += _linear(size.ffn, size.hidden, feed_forward_bias)
    return ParameterCount(
        embedding=size.vocab * size.hidden,
        layers=size.layers * (attention + feed_forward + 2 * size.hidden),
        head=0 if tied else size.vocab * size.hidden,
        other=size.hidden,
    )


@dataclass(frozen=True)
class _Family:
    """What sets a model_type apart: its formula, its names for the sizes, and what configs leave out."""

    count: Callable[[Architecture, Dimensions, bool], ParameterCount]
    layers: str = "num_hidden_layers"
    hidden: str = "hidden_size"
    heads: str = "num_attention_heads"
    ffn: str = "intermediate_size"
    max_positions: str = "max_position_embeddings"
    tied: bool = False  # tie_word_embeddings where it is left out
    kv_heads_required: bool = False  # elsewhere a key head for each query head
    ffn_ratio: int = 0  # feed-forward width over hidden width where it may be left out


_FAMILIES = {
    "opt": _Family(_opt, ffn="ffn_dim", tied=True),
    "llama": _Family(_llama),
    "mistral": _Family(_mistral, kv_heads_required=True),
    "qwen2": _Family(_qwen2, kv_heads_required=True),
    "gpt2": _Family(_gpt2, "n_layer", "n_embd", "n_head", "n_inner", "n_positions", tied=True, ffn_ratio=4),
    "gpt_neox": _Family(_gpt_neox),
}

FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
"""The model_types that can be counted."""


def _family(architecture: Architecture) -> _Family:
    name = architecture.get("model_type")
    if name not in _FAMILIES:
        raise ValueError(f"model_type {name} cannot be counted; known are {', '.join(FAMILIES)}")
    return _FAMILIES[name]
