"""The tiny models with which `tunefleet check` compares a strategy: whatever its degrees are, they divide them."""

from __future__ import annotations

import math

from tunefleet.config.parallel import ParallelConfig
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.registry import family_of

MODELS = ("opt", "llama")
"""The families that are compared: one with tied embeddings and biases, one with grouped heads and neither."""
VOCABULARY = 97
_WIDTH = 64  # with 128 the same learning rate makes 1e-4 of a rounding within twenty steps, for every strategy


def architecture(model_type: str, parallel: ParallelConfig) -> Architecture:
    """A tiny model of a family that is counted. Raises ValueError for another one."""
    keys, activations = family_of(model_type).keys, Architecture({"model_type": model_type}).activations
    parts = math.lcm(4, parallel.tensor, parallel.sequence)  # what every size of a layer can be divided into
    heads = 2 * parts
    sizes = {
        "vocab_size": VOCABULARY,
        keys.hidden: _multiple(2 * heads, _WIDTH),  # rotary embeddings want heads of even size
        keys.layers: max(4, parallel.pipeline),
        keys.heads: heads,
        keys.ffn: _multiple(parts, 96 if activations.gated else 2 * _WIDTH),
        keys.max_positions: 64,
    }
    if activations.gated or keys.kv_heads_required:
        sizes["num_key_value_heads"] = parts
    sizes.pop("", None)  # the name of what a family has none of
    return Architecture({"model_type": model_type, **sizes, **family_of(model_type).tiny})


def _multiple(divisor: int, least: int) -> int:
    return -(-least // divisor) * divisor
