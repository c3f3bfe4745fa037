"""JSON values that are unambiguous: no key twice in an object, no half of a character."""

from __future__ import annotations

import json
import re
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.read import input_limits

_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that begins or ends a pair, or stands alone


_DEEP = f"lists and objects more than {input_limits.DEEPEST} levels deep"


class AmbiguousJson(DataError):
    """JSON that is well formed and ambiguous: a bad row, not a damaged file."""


class Decoder:
    """Decodes JSON and remembers a key that stood twice in one object, of which Python keeps the last, and a number
    that Python refuses to read.
    """

    def __init__(self) -> None:
        self._twice = self._number = ""
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_int=self._integer)

    def value(self, text: str, start: int) -> tuple[Any, int]:
        """The value that begins at `start` of `text`, and where it ends. Raises `JSONDecodeError`."""
        self._twice = self._number = ""
        try:
            return self._decoder.raw_decode(text, start)
        except RecursionError:
            raise json.JSONDecodeError(_DEEP, text, start) from None

    def decode(self, text: str) -> Any:
        """The value that is all of `text`. Raises `JSONDecodeError`."""
        self._twice = self._number = ""
        try:
            return self._decoder.decode(text)
        except RecursionError:
            raise json.JSONDecodeError(_DEEP, text, 0) from None

    def complaint(self, value: Any, text: str) -> str:
        """What is wrong with the `value` that was decoded last, from `text`; empty where nothing is."""
        if self._twice:
            return f"the key {self._twice!r} stands twice in one object, and one of its values would be dropped"
        if self._number:
            return self._number
        if text.count("[") + text.count("{") > input_limits.DEEPEST and _depth(value) > input_limits.DEEPEST:
            return _DEEP
        if "\\u" in text and _HALF.search(text) and not _is_whole(value):
            return "holds half a character, an escape such as \\ud83d without its other half"
        return ""

    def _integer(self, digits: str) -> int:
        try:
            return int(digits)
        except ValueError:
            self._number = f"a number of {len(digits):,} digits"
            return 0

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            self._twice = next(key for key in keys if keys.count(key) > 1)
        return values


def _depth(value: Any) -> int:
    """How many lists and objects are inside of each other."""
    level, depth = [value], 0
    while level := [part for part in level if isinstance(part, (dict, list))]:
        level = [inner for part in level for inner in (part.values() if isinstance(part, dict) else part)]
        depth += 1
    return depth


_decoder = Decoder()  # rows are read in one thread


def parsed(text: str, location: str) -> Any:
    """The value that is all of `text`. Raises `JSONDecodeError`, or `AmbiguousJson`."""
    value = _decoder.decode(text)
    complaint = _decoder.complaint(value, text)
    if complaint:
        raise AmbiguousJson(f"{location}: {complaint}.")
    return value


def _is_whole(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
