"""Which linear layers an architecture has, by name and size: arithmetic on a config.json, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunefleet.plan.parameters import Architecture, Dimensions, dimensions

Sizes = tuple[int, int]
"""(inputs, outputs) of a linear layer."""


def linears(architecture: Architecture) -> dict[str, Sizes]:
    """Every linear layer but the output head, by its full name in transformers.

    Raises ValueError for a model_type that `plan.parameters` cannot count.
    """
    size = dimensions(architecture)
    prefix, layer = _FAMILIES[architecture["model_type"]]
    inner = layer(size).items()
    found = {f"{prefix}.{number}.{name}": sizes for number in range(size.layers) for name, sizes in inner}
    width = architecture.get("word_embed_proj_dim") or size.hidden  # OPT-350m's embedding is narrower
    if architecture["model_type"] == "opt" and width != size.hidden:
        found["model.decoder.project_in"] = (width, size.hidden)
        found["model.decoder.project_out"] = (size.hidden, width)
    return found


def _opt(size: Dimensions) -> dict[str, Sizes]:
    attention = {f"self_attn.{name}_proj": (size.hidden, size.hidden) for name in ("q", "k", "v", "out")}
    return {**attention, "fc1": (size.hidden, size.ffn), "fc2": (size.ffn, size.hidden)}


def _gated(size: Dimensions) -> dict[str, Sizes]:
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    return {
        "self_attn.q_proj": (size.hidden, queries),
        "self_attn.k_proj": (size.hidden, keys),
        "self_attn.v_proj": (size.hidden, keys),
        "self_attn.o_proj": (queries, size.hidden),
        "mlp.gate_proj": (size.hidden, size.ffn),
        "mlp.up_proj": (size.hidden, size.ffn),
        "mlp.down_proj": (size.ffn, size.hidden),
    }


def _fused(attention: tuple[str, str], feed_forward: tuple[str, str]) -> Callable[[Dimensions], dict[str, Sizes]]:
    """Queries, keys and values in one layer: its name and that of the output; then those of the feed-forward."""

    def layer(size: Dimensions) -> dict[str, Sizes]:
        return {
            attention[0]: (size.hidden, 3 * size.hidden),
            attention[1]: (size.hidden, size.hidden),
            feed_forward[0]: (size.hidden, size.ffn),
            feed_forward[1]: (size.ffn, size.hidden),
        }

    return layer


_gpt2 = _fused(("attn.c_attn", "attn.c_proj"), ("mlp.c_fc", "mlp.c_proj"))
_gpt_neox = _fused(("attention.query_key_value", "attention.dense"), ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"))
_FAMILIES: Mapping[str, tuple[str, Callable[[Dimensions], dict[str, Sizes]]]] = {
    "opt": ("model.decoder.layers", _opt),
    "llama": ("model.layers", _gated),
    "mistral": ("model.layers", _gated),
    "qwen2": ("model.layers", _gated),
    "gpt2": ("transformer.h", _gpt2),
    "gpt_neox": ("gpt_neox.layers", _gpt_neox),
}
