"""Collecting conversations: those of every row of a source, or why a row is bad."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tunefleet.base.errors import DataError
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.formats.conversation_reader import Reader
from tunefleet.data.formats.recognise_format import UnknownFormat
from tunefleet.data.read import meter
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.source_row import RowOrError
from tunefleet.data.read.sources import Source

ParsedRow = list[Conversation] | DataError
"""The conversations of a row, or why it is bad."""


def rows(source: Source, unread: dict[str, str] | None = None) -> Iterator[ParsedRow]:
    """Every row of `source`: its conversations, or why it is bad; behind the last one `unread` holds its unknown keys.

    Raises `DataError` for what no row can help.
    """
    reader, watch = Reader(source.config), meter.current()
    for row in source.rows():
        watch.read += 1
        yield _parsed(row, reader)
    reader.finish()
    if unread is not None:
        unread.update(reader.unread)


def beginnings(source: Source, most: int) -> Iterator[ParsedRow]:
    """The first rows of every file of `source`: about `most` in all, and at least one of each.

    Raises `DataError` as `rows` does; columns that no row has are named only where these are all rows.
    """
    reader, parts = Reader(source.config), source.parts()
    rows_per_part, complete = max(1, most // len(parts)), True
    for part in parts:
        for number, row in enumerate(islice(part, rows_per_part + 1)):
            complete &= number < rows_per_part
            if number < rows_per_part:
                yield _parsed(row, reader)
    if complete:
        reader.finish()


def collect(source: Source, bad: BadRows) -> list[Conversation]:
    """Every conversation of a small source. Raises `DataError` for a row that may not be left out."""
    conversations: list[Conversation] = []
    for row in rows(source):
        if isinstance(row, DataError):
            bad.add(row)
        else:
            conversations += row
    return conversations


def _parsed(row: RowOrError, reader: Reader) -> ParsedRow:
    try:
        return row if isinstance(row, DataError) else reader.conversations(row)
    except UnknownFormat:
        raise
    except DataError as error:
        return error
