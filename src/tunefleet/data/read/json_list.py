"""JSON lists of any length, read value by value with only a part in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.read import input_limits, text_lines
from tunefleet.data.read.json_value import Decoder

_SPACE = re.compile(r"[ \t\n\r]*")
_LITERAL = 16  # characters: what is wrong so near the end of what was read may only be cut off there


def is_list(path: Path) -> bool:
    """Whether the file's first character opens a list. Raises `DataError`."""
    return _Text(text_lines.texts(path)).next() == "["


Checked = tuple[Any, str]
"""A value, and what is wrong with it; empty where nothing is."""


def values(path: Path) -> Iterator[Checked]:
    """The values of the list that is the whole file. Raises `DataError` naming the line that is broken."""
    text = _Text(text_lines.texts(path))
    try:
        yield from _values(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{text.line(error.pos)}: broken JSON: {error.msg}.") from None


def _values(text: _Text) -> Iterator[Checked]:
    text.take("[", "Expecting value")
    if text.next() != "]":
        yield text.value()
        while text.next() == ",":
            text.take(",", "")
            yield text.value()
    text.take("]", "Expecting ',' delimiter")
    if text.next():
        raise text.error("Extra data")


class _Text:
    """A text that is read as far as it is needed; what was taken is forgotten."""

    def __init__(self, parts: Iterable[str]) -> None:
        self._parts = iter(parts)
        self._text = ""
        self._at = 0
        self._lines = 1
        self._decoder = Decoder()

    def line(self, offset: int) -> int:
        """The number of the line at `offset` of what is in memory."""
        return self._lines + self._text.count("\n", 0, offset)

    def error(self, message: str) -> json.JSONDecodeError:
        """What is wrong here."""
        return json.JSONDecodeError(message, self._text, self._at)

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches always
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def take(self, character: str, otherwise: str) -> None:
        """Steps over `character`. Raises `JSONDecodeError`."""
        if self.next() != character:
            raise self.error(otherwise)
        self._at += 1

    def value(self) -> Checked:
        """The value that comes next. Raises `JSONDecodeError`."""
        self.next()
        while True:
            begun = self._at  # reading moves it
            try:
                value, end = self._decoder.value(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos + _LITERAL > len(self._text)
                offset = error.pos - self._at
                if not (cut and self._read()):
                    raise json.JSONDecodeError(error.msg, self._text, self._at + offset) from None
                continue
            if end + _LITERAL < len(self._text) or not self._read():  # a number may go on
                offset, self._at = self._at, self._at + end - begun
                return value, self._decoder.complaint(value, self._text[offset : self._at])

    def _read(self) -> bool:
        """Reads as much again as there is, so that a long value is not begun too often. Raises `JSONDecodeError`."""
        if len(self._text) - self._at > input_limits.LONGEST:
            raise self.error(f"a value of more than {input_limits.LONGEST:,} characters")
        self._lines += self._text.count("\n", 0, self._at)
        unread = self._text[self._at :]
        parts: list[str] = []
        length = 0
        for part in self._parts:
            parts.append(part)
            length += len(part)
            if length >= len(unread):
                break
        self._text, self._at = unread + "".join(parts), 0
        return bool(length)
