"""The tiny models with which `tunefleet check` compares a strategy: whatever its degrees are, they divide them."""

from __future__ import annotations

import math
from typing import Any

from tunefleet.config.parallel import ParallelConfig

MODELS = ("opt", "llama")
"""The families that are compared: one with tied embeddings and biases, one with grouped heads and neither."""
VOCABULARY = 97
_WIDTH = 64  # with 128 the same learning rate makes 1e-4 of a rounding within twenty steps, for every strategy


def architecture(name: str, parallel: ParallelConfig) -> dict[str, Any]:
    """A config.json of the family `name`."""
    parts = math.lcm(4, parallel.tensor, parallel.sequence)  # what every size of a layer can be divided into
    heads = 2 * parts
    sizes = {
        "model_type": name,
        "vocab_size": VOCABULARY,
        "hidden_size": _multiple(2 * heads, _WIDTH),  # rotary embeddings want heads of even size
        "num_hidden_layers": max(4, parallel.pipeline),
        "num_attention_heads": heads,
        "max_position_embeddings": 64,
    }
    return sizes | (_opt(sizes["hidden_size"], parts) if name == "opt" else _llama(parts))


def _multiple(of: int, least: int) -> int:
    return -(-least // of) * of


def _opt(hidden: Any, parts: int) -> dict[str, Any]:
    return {
        "word_embed_proj_dim": hidden,
        "ffn_dim": _multiple(parts, 2 * _WIDTH),
        "do_layer_norm_before": True,
        "activation_function": "gelu",  # one sign that rounding flips at ReLU's kink is 1e-4 of a gradient norm
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }


def _llama(parts: int) -> dict[str, Any]:
    return {"intermediate_size": _multiple(parts, 96), "num_key_value_heads": parts, "tie_word_embeddings": False}
