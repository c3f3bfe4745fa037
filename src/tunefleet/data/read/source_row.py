"""What does a source give: a row as it stands there, and where that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunefleet.base.errors import DataError


@dataclass(frozen=True)
class Row:
    """Values by column. `where` is file:line, or file: row N."""

    values: dict[str, Any]
    where: str


@dataclass(frozen=True)
class Media:
    """What a column holds that is no text: `kind` is pictures, sound and the like. Its content is not read."""

    kind: str


Read = Row | DataError
"""A row, or why there is none: a reader goes on after a row that is bad."""
