"""Size limits of a config.json: numbers beyond which no model is, so that a wrong one leads to no allocation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

LIMITS = (
    (r"_layers?$|^n_layer$|^depth$", 10_000),
    (r"position|^n_ctx$|context_length|window|chunk|seq_length|seq_len$", 1 << 27),
    (r"vocab", 1 << 24),
    (r"heads?$|experts?$|groups?$", 1 << 16),
    (r"", 1 << 22),
)
"""(names of keys, the largest number): the first that fits counts. A size of 4 million is that of no layer."""
PARAMETERS = 10**13
_NO_SIZE = re.compile(
    r"(^|_)(id|ids|index|seed|theta|base|freq|factor|scale|scaling|eps|epsilon|beta|alpha|std|clipping|val)(_|$)"
)
"""Keys whose numbers are no sizes: ids that are looked up, angles, factors."""


def complaints(config: Mapping[str, Any]) -> list[str]:
    """Each key of `config`, also of nested ones, with a number that no model has; empty where all are possible."""
    return [message for key, value in _numbers(config) if (message := _complaint(key, value))]


def _numbers(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in config.items():
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, Mapping):
                yield from _numbers(part, f"{prefix}{key}.")
            elif isinstance(part, (int, float)) and not isinstance(part, bool):
                yield f"{prefix}{key}", part


def _complaint(key: str, value: float) -> str:
    if math.isnan(value):
        return f"{key}: is no number (NaN)"
    name = key.rsplit(".", 1)[-1]
    if _NO_SIZE.search(name) or math.isinf(value):  # some families have infinite limits of time steps
        return ""
    largest = next(limit for pattern, limit in LIMITS if re.search(pattern, name))
    return f"{key}: {_short(value)} is more than any model has; at most {largest:,} is read" if value > largest else ""


def _short(value: float) -> str:
    text = f"{value:,}"
    return text if len(text) < 32 else f"a number of {len(text)} digits"
