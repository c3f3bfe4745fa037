"""Row fields: values under our names for their columns, of the kind that is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.read import json_value
from tunefleet.data.read.source_row import Row

_ABSENT = object()


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """`row` with our names beside its own, as far as it has what they stand for."""
    if not columns:
        return row
    values = {name: find(row.values, column) for name, column in columns.items()}
    return Row({**row.values, **{name: value for name, value in values.items() if value is not _ABSENT}}, row.location)


def has(row: Row, column: str) -> bool:
    """Whether `row` has a value at `column`, written as in `renamed`."""
    return find(row.values, column) is not _ABSENT


def find(value: Any, column: str) -> Any:
    """The value at `a.0.b` inside objects and lists; `a.*.b` joins the texts of a list."""
    if isinstance(value, Mapping) and column in value:
        return value[column]
    key, _, inner_column = column.partition(".")
    if key == "*" and isinstance(value, list):
        parts = [find(item, inner_column) if inner_column else item for item in value]
        return "".join(parts) if all(isinstance(part, str) for part in parts) else _ABSENT
    inner = _inside(value, key)
    return find(inner, inner_column) if inner_column and inner is not _ABSENT else inner


def _inside(value: Any, key: str) -> Any:
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    return value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT


def get(row: Row, key: str, kind: type) -> Any:
    """The value of the column `key`. Raises `DataError` where it is missing or of another kind."""
    if key not in row.values:
        raise DataError(
            f"{row.location}: no column {key!r}; it has {', '.join(row.values)}. Name it: data.columns.{key}=COLUMN."
        )
    value = row.values[key]
    if not isinstance(value, kind):
        raise DataError(f"{row.location}: {key} is {type(value).__name__} instead of {kind.__name__}.")
    return text(value, f"{row.location}: {key}") if kind is str else value


def optional(row: Row, key: str) -> str:
    """The text of the column `key`, empty where the row has none."""
    return optional_text(row.values.get(key), f"{row.location}: {key}")


def optional_text(value: Any, location: str) -> str:
    """`value`, which is text; empty where it is null. Raises `DataError`."""
    return "" if value is None else text(value, location)


def expect_characters(value: Any, location: str) -> None:
    """Raises `DataError` where a text or a key anywhere in `value` holds half a character."""
    if isinstance(value, str):
        text(value, location)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            text(key, f"{location}: a key")
            expect_characters(inner, f"{location}: {key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            expect_characters(inner, location)


def text(value: Any, location: str) -> str:
    """`value`, which is text and can be written. Raises `DataError`."""
    if not isinstance(value, str):
        raise DataError(f"{location} is {type(value).__name__} instead of text.")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{location} holds half a character ({value[error.start]!r}) at {error.start}.") from None
    return value


def listed(value: Any, location: str) -> list[Any]:
    """`value`, which is a list; nothing is an empty one. Raises `DataError`."""
    if value is not None and not isinstance(value, list):
        raise DataError(f"{location} is {type(value).__name__} instead of list.")
    return value or []


def decoded(value: Any, location: str) -> Any:
    """`value`, parsed where it is JSON written as a text. Raises `DataError`."""
    if not isinstance(value, str):
        return value
    try:
        return json_value.parsed(value, location)
    except json.JSONDecodeError as error:
        raise DataError(f"{location}: broken JSON: {error.msg}.") from None
