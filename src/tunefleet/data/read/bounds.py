"""Bounds on the rows of a file, counted without reading them: for what is certain before the last one."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from tunefleet.base.errors import DataError
from tunefleet.config.data import FileType, SourceConfig
from tunefleet.data.read import file_readers, tables, text_lines

_OBJECTS = re.compile(r"\s*\[\s*\{")  # a list whose first row is an object, and so all that are no bad rows


def most_rows(path: Path, source: SourceConfig) -> int | None:
    """At least as many rows as there are; None where nothing but reading them tells, or the file is damaged."""
    try:
        kind = file_readers.file_type(path, source.file_type)
        if kind in (FileType.PARQUET, FileType.ARROW):
            return tables.count(path, kind)
        return _json(path, source) if kind is FileType.JSON else _lines(path)
    except DataError:
        return None  # reading raises it


def _lines(path: Path) -> int:
    return text_lines.count(path, b"\n") + 1


def _json(path: Path, source: SourceConfig) -> int | None:
    """Rows of a list are counted by the braces that open them; braces inside of a row count too."""
    if source.split:
        return None
    if file_readers.in_lines(path):
        return _lines(path)
    start = "".join(islice(text_lines.texts(path), 1))
    return text_lines.count(path, b"{") if _OBJECTS.match(start) else None
