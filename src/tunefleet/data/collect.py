"""Which conversations does a source hold, bad rows aside?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.bad_rows import BadRows
from tunefleet.data.conversation import Conversation
from tunefleet.data.formats.reading import Reader, UnknownFormat
from tunefleet.data.row import Read
from tunefleet.data.sources import Source

Check = Callable[[Conversation], Any]


def collect(source: Source, bad: BadRows, check: Check | None = None) -> list[Conversation]:
    """Every conversation of `source`. Raises `DataError` for a row that may not be left out.

    Where bad rows are left out, so is one that `check` refuses; else its refusal comes when it is used.
    """
    reader = Reader(source.config)
    found: list[Conversation] = []
    for row in source.rows():
        try:
            found += _conversations(row, reader, check if bad.skips else None)
        except UnknownFormat:
            raise
        except DataError as error:
            bad.add(error)
    reader.finish()
    return found


def _conversations(row: Read, reader: Reader, check: Check | None) -> list[Conversation]:
    if isinstance(row, DataError):
        raise row
    conversations = reader.conversations(row)
    for conversation in conversations:
        if check:
            check(conversation)
    return conversations
