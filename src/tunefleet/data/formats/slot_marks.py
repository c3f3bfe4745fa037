"""Slots of a command: the marked parts of its text, by name, beside its intent."""

from __future__ import annotations

import json
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.read.row_fields import text
from tunefleet.data.read.source_row import Row

_SHAPE = "a list of parts such as {text: Paris, entity: city}"


def with_slots(intent: str, row: Row) -> str:
    """The intent alone, or where the row has `slots`, JSON: `{"intent": "GetWeather", "slots": {"city": "Paris"}}`.

    `slots` are the parts of the text in order, as SNIPS has them; one with an `entity` is a slot. A slot that
    stands twice becomes a list. Raises `DataError`.
    """
    if "slots" not in row.values:
        return intent
    return json.dumps({"intent": intent, "slots": _slots(row)}, ensure_ascii=False)


def _slots(row: Row) -> dict[str, Any]:
    parts = row.values["slots"]
    if not isinstance(parts, list) or not all(isinstance(part, dict) and "text" in part for part in parts):
        raise DataError(f"{row.location}: slots is not {_SHAPE}.")
    slots: dict[str, list[str]] = {}
    for part in parts:
        if part.get("entity") is not None:
            name = text(part["entity"], f"{row.location}: entity")
            slots.setdefault(name, []).append(text(part["text"], f"{row.location}: {name}").strip())
    return {name: values[0] if len(values) == 1 else values for name, values in slots.items()}
