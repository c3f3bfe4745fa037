"""How many parameters an architecture has: arithmetic on a config.json, without torch."""

from __future__ import annotations

import copy
from typing import Any

from tunefleet.plan.families.counts import FAMILIES, Architecture, Dimensions, Family, ParameterCount, family

__all__ = ["FAMILIES", "Architecture", "Dimensions", "ParameterCount", "count", "dimensions", "set_layers"]


def count(architecture: Architecture) -> ParameterCount:
    """Parameters of `architecture`, the content of a config.json.

    Raises ValueError for a model_type outside FAMILIES, and names a key that is missing or senseless.
    """
    kind = family(architecture)
    tied = architecture.get("tie_word_embeddings", kind.tied)
    return kind.count(architecture, dimensions(architecture), tied)


def set_layers(architecture: Architecture, num_layers: int) -> dict[str, Any]:
    """A copy of `architecture` with `num_layers` transformer blocks.

    A list of layer kinds is left out, since it fits the old depth only; transformers derives it again.
    Raises ValueError for a model_type outside FAMILIES and for fewer than one layer.
    """
    if num_layers < 1:
        raise ValueError(f"a model needs at least 1 layer, not {num_layers}")
    changed = {key: copy.deepcopy(value) for key, value in architecture.items() if key != "layer_types"}
    return changed | {family(architecture).layers: num_layers}


def dimensions(architecture: Architecture) -> Dimensions:
    """Sizes of `architecture` in family-independent words; all are counts of rows, heads or tokens.

    Raises ValueError for a model_type outside FAMILIES, and names a key that is missing or senseless.
    """
    kind = family(architecture)
    hidden = _size(architecture, kind.hidden)
    heads = _size(architecture, kind.heads)
    return Dimensions(
        layers=_size(architecture, kind.layers),
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(architecture, kind, heads),
        head_dim=_head_dim(architecture, kind, hidden, heads),
        ffn=_size(architecture, kind.ffn, hidden * kind.ffn_ratio or None),
        vocab=_size(architecture, "vocab_size"),
        max_positions=_size(architecture, kind.max_positions) if kind.max_positions else 0,
    )


def _size(architecture: Architecture, key: str, default: int | None = None) -> int:
    value = architecture.get(key)
    value = default if value is None else value
    if value is None:
        raise ValueError(f"the {architecture['model_type']} architecture lacks the key {key}")
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{key} must be a positive whole number, not {value!r}")
    return value


def _kv_heads(architecture: Architecture, kind: Family, heads: int) -> int:
    found = kind.kv_heads(architecture)
    return _size({**architecture, "num_key_value_heads": found}, "num_key_value_heads", _kv_default(kind, heads))


def _kv_default(kind: Family, heads: int) -> int | None:
    return None if kind.kv_heads_required else heads


def _head_dim(architecture: Architecture, kind: Family, hidden: int, heads: int) -> int:
    default = kind.head_dim or hidden // heads
    if architecture.get("head_dim") is None and not kind.head_dim and hidden % heads:
        raise ValueError(f"a hidden size of {hidden} does not divide into {heads} attention heads")
    return _size(architecture, "head_dim", default)
