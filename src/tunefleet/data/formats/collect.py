"""Which conversations does a source hold, and which rows are bad?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from tunefleet.base.errors import DataError
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.formats.reading import Reader, UnknownFormat
from tunefleet.data.read import meter
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.source_row import Read
from tunefleet.data.read.sources import Source

Said = list[Conversation] | DataError
"""What a row says, or why it says nothing."""


def rows(source: Source, unread: dict[str, str] | None = None) -> Iterator[Said]:
    """Every row of `source`: its conversations, or why it is bad; behind the last one `unread` holds its unknown keys.

    Raises `DataError` for what no row can mend.
    """
    reader, watch = Reader(source.config), meter.current()
    for row in source.rows():
        watch.read += 1
        yield _said(row, reader)
    reader.finish()
    if unread is not None:
        unread.update(reader.unread)


def beginnings(source: Source, most: int) -> Iterator[Said]:
    """The first rows of every file of `source`: about `most` in all, and at least one of each.

    Raises `DataError` as `rows` does; columns that no row has are named only where these are all rows.
    """
    reader, parts = Reader(source.config), source.parts()
    each, complete = max(1, most // len(parts)), True
    for part in parts:
        for number, row in enumerate(islice(part, each + 1)):
            complete &= number < each
            if number < each:
                yield _said(row, reader)
    if complete:
        reader.finish()


def collect(source: Source, bad: BadRows) -> list[Conversation]:
    """Every conversation of a small source. Raises `DataError` for a row that may not be left out."""
    found: list[Conversation] = []
    for said in rows(source):
        if isinstance(said, DataError):
            bad.add(said)
        else:
            found += said
    return found


def _said(row: Read, reader: Reader) -> Said:
    try:
        return row if isinstance(row, DataError) else reader.conversations(row)
    except UnknownFormat:
        raise
    except DataError as error:
        return error
