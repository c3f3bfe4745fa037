"""Places: where each stored conversation was read, as the number of its row and of the file that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunefleet.base import files
from tunefleet.data.store import disk_format

_DIGITS, _MOST_DIGITS = "0123456789", 18
_NO_NUMBER = -1  # the row of a place without a number


class PlaceWriter:
    """Writes `origins` and `rows` of a data set into its folder, and the names of the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._origins = disk_format.array_writer(folder, disk_format.ORIGINS)
        self._rows = disk_format.array_writer(folder, disk_format.ROWS)
        self._numbers: dict[str, int] = {}

    def append(self, locations: Sequence[str]) -> None:
        """Takes the places of the next conversations."""
        pairs = [split(location) for location in locations]
        self._origins.append([self._numbers.setdefault(origin, len(self._numbers)) for origin, _ in pairs])
        self._rows.append([row for _, row in pairs])

    def finish(self) -> None:
        """Everything is on the disk."""
        self._origins.finish()
        self._rows.finish()
        files.write_json(self._folder / disk_format.ORIGIN_NAMES, list(self._numbers))


def split(location: str) -> tuple[str, int]:
    """A place as (what stands before its last number, that number); `text` puts them together again."""
    length = min(len(location) - len(location.rstrip(_DIGITS)), _MOST_DIGITS)
    number = location[len(location) - length :]
    if not number or (number != "0" and number.startswith("0")):
        return location, _NO_NUMBER
    return location[: len(location) - length], int(number)


def text(origin: str, row: int) -> str:
    """The place that `split` took apart."""
    return origin if row == _NO_NUMBER else f"{origin}{row}"
