"""Which linear layers an architecture has, by name and size: arithmetic on a config.json, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunefleet.plan.families.parameters import Architecture, Dimensions, dimensions

Sizes = tuple[int, int]
"""(inputs, outputs) of a linear layer."""
_Layer = Callable[[Dimensions], dict[str, Sizes]]


def linears(architecture: Architecture) -> dict[str, Sizes]:
    """Every linear layer but the output head, by its full name in transformers.

    Raises ValueError for a model_type that `plan.parameters` cannot count.
    """
    size = dimensions(architecture)
    if architecture["model_type"] not in _FAMILIES:
        raise ValueError(f"the linear layers of model_type {architecture['model_type']} are not listed")
    prefix, layer = _FAMILIES[architecture["model_type"]]
    inner = layer(size).items()
    found = {f"{prefix}.{number}.{name}": sizes for number in range(size.layers) for name, sizes in inner}
    width = architecture.get("word_embed_proj_dim") or size.hidden  # OPT-350m's embedding is narrower
    if architecture["model_type"] == "opt" and width != size.hidden:
        found["model.decoder.project_in"] = (width, size.hidden)
        found["model.decoder.project_out"] = (size.hidden, width)
    return found


def _opt(size: Dimensions) -> dict[str, Sizes]:
    return {**_attention(size, output="out_proj"), "fc1": (size.hidden, size.ffn), "fc2": (size.ffn, size.hidden)}


def _gated(size: Dimensions) -> dict[str, Sizes]:
    return {
        **_attention(size),
        **{f"mlp.{name}_proj": (size.hidden, size.ffn) for name in ("gate", "up")},
        **_down(size),
    }


def _phi3(size: Dimensions) -> dict[str, Sizes]:
    queries, keys = _widths(size)
    return {
        "self_attn.o_proj": (queries, size.hidden),
        "self_attn.qkv_proj": (size.hidden, queries + 2 * keys),
        "mlp.gate_up_proj": (size.hidden, 2 * size.ffn),
        **_down(size),
    }


def _attention(size: Dimensions, block: str = "self_attn", output: str = "o_proj") -> dict[str, Sizes]:
    """Queries, keys, values and the output, each in a layer of its own. Experts of Mixtral are in none."""
    queries, keys = _widths(size)
    return {
        f"{block}.q_proj": (size.hidden, queries),
        f"{block}.k_proj": (size.hidden, keys),
        f"{block}.v_proj": (size.hidden, keys),
        f"{block}.{output}": (queries, size.hidden),
    }


def _widths(size: Dimensions) -> Sizes:
    """The width of all query heads, and that of all key heads."""
    return size.heads * size.head_dim, size.kv_heads * size.head_dim


def _down(size: Dimensions) -> dict[str, Sizes]:
    return {"mlp.down_proj": (size.ffn, size.hidden)}


def _plain(first: str, second: str, block: str = "self_attn", output: str = "o_proj") -> _Layer:
    """Attention in four layers, and a feed-forward of two with these names."""

    def layer(size: Dimensions) -> dict[str, Sizes]:
        return {
            **_attention(size, block, output),
            f"mlp.{first}": (size.hidden, size.ffn),
            f"mlp.{second}": (size.ffn, size.hidden),
        }

    return layer


def _fused(attention: tuple[str, str], feed_forward: tuple[str, str]) -> _Layer:
    """Queries, keys and values in one layer: its name and that of the output; then those of the feed-forward."""

    def layer(size: Dimensions) -> dict[str, Sizes]:
        queries, keys = _widths(size)
        return {
            attention[0]: (size.hidden, queries + 2 * keys),
            attention[1]: (queries, size.hidden),
            feed_forward[0]: (size.hidden, size.ffn),
            feed_forward[1]: (size.ffn, size.hidden),
        }

    return layer


_NEOX_MLP = ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
_gpt2 = _fused(("attn.c_attn", "attn.c_proj"), ("mlp.c_fc", "mlp.c_proj"))
_gpt_neox = _fused(("attention.query_key_value", "attention.dense"), _NEOX_MLP)
_bloom = _fused(("self_attention.query_key_value", "self_attention.dense"), _NEOX_MLP)
_LLAMAS = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "olmo2",
    "olmo3",
    "cohere",
    "stablelm",
)
_FAMILIES: Mapping[str, tuple[str, _Layer]] = {
    **dict.fromkeys((*_LLAMAS, "granite"), ("model.layers", _gated)),
    "opt": ("model.decoder.layers", _opt),
    "gpt2": ("transformer.h", _gpt2),
    "gpt_neox": ("gpt_neox.layers", _gpt_neox),
    "phi": ("model.layers", _plain("fc1", "fc2", output="dense")),
    "phi3": ("model.layers", _phi3),
    "starcoder2": ("model.layers", _plain("c_fc", "c_proj")),
    "mixtral": ("model.layers", _attention),
    "gptj": ("transformer.h", _plain("fc_in", "fc_out", block="attn", output="out_proj")),
    "bloom": ("transformer.h", _bloom),
    "falcon": ("transformer.h", _bloom),
}
