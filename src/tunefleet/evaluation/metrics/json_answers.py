"""JSON answers: how many are JSON, and how many of their values are right, as slot F1 counts them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

Slot = tuple[str, str]
"""Its path, such as `slots.artist`, and its value as JSON."""


def json_answers(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{"json_valid": share that is JSON, "slot_f1": F1 over the values of all answers}, both 0 to 1.

    A value counts with its path, and as often as it is there: micro-averaged F1, as CoNLL counts spans (Tjong Kim Sang
    and De Meulder 2003). An answer that is no JSON has no values, so it costs recall.
    """
    parsed = [slots(answer) for answer in answers]
    expected = [slots(reference) or Counter() for reference in references]
    right = sum(((values or Counter()) & target).total() for values, target in zip(parsed, expected, strict=True))
    counted = sum(values.total() for values in (*filter(None, parsed), *expected))
    valid = sum(values is not None for values in parsed) / len(parsed)
    return {"json_valid": valid, "slot_f1": 2 * right / counted if counted else 1.0}


def slots(text: str) -> Counter[Slot] | None:
    """The values of a text that is JSON, None of another."""
    try:
        return Counter(_leaves(json.loads(text), ""))
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any, path: str) -> Iterator[Slot]:
    """Lists have no order among their values: `items[]` is the path of all of them."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, f"{path}[]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)
