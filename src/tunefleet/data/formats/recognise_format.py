"""Recognised formats: which keys make a row chat messages, Alpaca, ShareGPT, a translation and so on."""

from __future__ import annotations

from collections.abc import Iterable

from tunefleet.base.errors import DataError
from tunefleet.config.data import Format
from tunefleet.data.read.source_row import Row

KEYS: tuple[tuple[Format, set[str]], ...] = (
    (Format.CHOSEN, {"chosen"}),
    (Format.MESSAGES, {"messages"}),
    (Format.SHAREGPT, {"conversations"}),
    (Format.PROMPT_COMPLETION, {"prompt", "completion"}),
    (Format.ALPACA, {"instruction", "output"}),
    (Format.PARALLEL, {"source", "target"}),
    (Format.TREE, {"tree"}),
    (Format.TREE, {"message_tree_id", "prompt"}),
    (Format.TREE, {"role", "text", "replies"}),
    (Format.LABELLED, {"text", "label"}),
    (Format.TEXT, {"text"}),
)
"""The rule of `format=auto`: the first line whose keys a row has."""


class UnknownFormat(DataError):
    """The rows of a source are of no format that we know."""


def recognise(row: Row, columns: Iterable[str] = ()) -> Format:
    """The format whose keys `row` has, or `columns` name. Raises `UnknownFormat` with the keys that would be known."""
    names = {*row.values, *columns}
    recognised = next((format for format, keys in KEYS if keys <= names), None)
    if recognised is None:
        formats = "; ".join(f"{', '.join(sorted(keys))} ({format.value})" for format, keys in KEYS)
        raise UnknownFormat(
            f"{row.location}: unknown format with keys {', '.join(row.values)}. Known: {formats}. "
            "Name the columns, such as data.columns.prompt=COLUMN."
        )
    return recognised


def expect_fit(row: Row, names: set[str], format: Format) -> None:
    """Raises `DataError` where `names` are not the keys of a row of `format`, the one of the first row."""
    missing = min((keys - names for keyed, keys in KEYS if keyed is format), key=len)
    if missing:
        raise DataError(
            f"{row.location}: no column {', '.join(sorted(missing))}; it has {', '.join(row.values)}. "
            f"The first row is {format.value}, and a source has one format."
        )
