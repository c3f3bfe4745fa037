"""JSON values that are unambiguous: no key twice in an object, no half of a character."""

from __future__ import annotations

import json
import re
from typing import Any

from tunefleet.base.errors import DataError

_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape that begins or ends a pair, or stands alone


class AmbiguousJson(DataError):
    """JSON that is well formed and ambiguous: a bad row, not a damaged file."""


class Decoder:
    """Decodes JSON and remembers a key that stood twice in one object, of which Python keeps the last."""

    def __init__(self) -> None:
        self._twice = ""
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def value(self, text: str, start: int) -> tuple[Any, int]:
        """The value that begins at `start` of `text`, and where it ends. Raises `JSONDecodeError`."""
        self._twice = ""
        return self._decoder.raw_decode(text, start)

    def decode(self, text: str) -> Any:
        """The value that is all of `text`. Raises `JSONDecodeError`."""
        self._twice = ""
        return self._decoder.decode(text)

    def complaint(self, value: Any, text: str) -> str:
        """What is wrong with the `value` that was decoded last, from `text`; empty where nothing is."""
        if self._twice:
            return f"the key {self._twice!r} stands twice in one object, and one of its values would be dropped"
        if "\\u" in text and _HALF.search(text) and not _is_whole(value):
            return "holds half a character, an escape such as \\ud83d without its other half"
        return ""

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            self._twice = next(key for key in keys if keys.count(key) > 1)
        return values


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
