"""Fields with a range: which values a setting takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

RANGE = "range"
NAMED = "named"


def ranged(
    default: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    named: Mapping[str, int] | None = None,
) -> Any:
    """A field with `default` whose number must lie in the given range; `named` are words for numbers outside it."""
    bounds = {"above": above, "at least": at_least, "below": below, "at most": at_most}
    set_bounds = {k: v for k, v in bounds.items() if v is not None}
    return field(default=default, metadata={RANGE: set_bounds, NAMED: named or {}})


def is_outside(value: float, bounds: dict[str, float]) -> bool:
    """Whether `value` breaks one of `bounds`."""
    legal = {
        "above": value > bounds.get("above", value - 1),
        "at least": value >= bounds.get("at least", value),
        "below": value < bounds.get("below", value + 1),
        "at most": value <= bounds.get("at most", value),
    }
    return not all(legal.values())


def describe_bounds(bounds: dict[str, float]) -> str:
    """The range in words: `above 0 and at most 1`."""
    return " and ".join(f"{relation} {bound:g}" for relation, bound in bounds.items())


def as_typed(value: Any) -> str:
    """A setting as it is typed: null, true, a name."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(getattr(value, "value", value))
