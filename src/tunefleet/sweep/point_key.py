"""Point key: one key for all spellings and orders of a point of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

PointKey = frozenset[tuple[str, str]]


def key(values: Mapping[str, str]) -> PointKey:
    """Equal for points that are the same."""
    return frozenset((name, canonical(value)) for name, value in values.items())


@lru_cache(maxsize=65536)
def canonical(text: str) -> str:
    """One text for all spellings of a number: `1e-5` and `0.00001` are the same value."""
    try:
        return repr(float(text))
    except ValueError:
        return text
