"""Row of a source: its values by column, and its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunefleet.base.errors import DataError


@dataclass(frozen=True)
class Row:
    """Values by column. `location` is file:line, or file: row N."""

    values: dict[str, Any]
    location: str


@dataclass(frozen=True)
class Media:
    """The content of a column that is no text: `kind` is pictures, sound and the like. It is not read."""

    kind: str


RowOrError = Row | DataError
"""A row, or why there is none: a reader goes on after a row that is bad."""
