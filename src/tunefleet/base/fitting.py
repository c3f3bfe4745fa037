"""Tables that fit a terminal: columns without content go first, then the least important, then letters."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunefleet.base import text

_GAP = 2  # spaces between two columns
_SHORTEST = 12  # letters that a cell keeps


@dataclass(frozen=True)
class Column:
    """A head and its cells. Of two columns the one of the larger `rank` goes first; rank 0 stays.

    A `flexible` one is shortened before others go.
    """

    head: str
    cells: tuple[str, ...]
    rank: int = 0
    flexible: bool = False

    @property
    def empty(self) -> bool:
        """Whether all its cells are empty."""
        return bool(self.rank) and all(cell in ("", "-", "0") for cell in self.cells)

    @property
    def width(self) -> int:
        """Letters of its widest cell."""
        return max(len(cell) for cell in (self.head, *self.cells))

    def shortened(self, width: int) -> Column:
        """With cells of at most `width` letters, those that are longer with dots."""
        return Column(self.head[:width], tuple(_short(cell, width) for cell in self.cells), self.rank, self.flexible)


def terminal_width() -> int | None:
    """Letters of a line of the terminal that this process prints to; None where it prints to none."""
    if not sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    try:
        return int(columns) if columns.isdecimal() and int(columns) else os.get_terminal_size().columns
    except OSError:
        return None


def table(columns: Sequence[Column], width: int | None) -> str:
    """The columns as lines of at most `width` letters; all of them, whole, where there is no width."""
    shown = [column for column in columns if not column.empty]
    while width and (over := _width(shown) - width) > 0:
        shown = _smaller(shown, over)
    return text.columns(list(zip(*((column.head, *column.cells) for column in shown), strict=True)))


def card(values: Mapping[str, str], width: int | None) -> str:
    """Names and values, a pair on each line; a long value continues on the next line."""
    if not width or not values:
        return text.listed(values)
    indent = max(len(name) for name in values) + _GAP
    lines = []
    for name, value in values.items():
        parts = textwrap.wrap(value, max(_SHORTEST, width - indent)) or [""]
        lines += [f"{name.ljust(indent)}{parts[0]}".rstrip(), *(" " * indent + part for part in parts[1:])]
    return "\n".join(lines)


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _smaller(columns: list[Column], over: int) -> list[Column]:
    """One step: the widest flexible column shorter, or the least important gone, or the widest of the rest shorter."""
    flexible = [column for column in columns if column.flexible and column.width > _SHORTEST]
    going = [column for column in columns if column.rank]
    if flexible or not going:
        widest = max(flexible or columns, key=lambda column: column.width)
        least = _SHORTEST if flexible else 1
        shorter = widest.shortened(max(least, widest.width - over))
        return [shorter if column is widest else column for column in columns] if widest.width > 1 else columns[:1]
    dropped = max(going, key=lambda column: column.rank)
    return [column for column in columns if column is not dropped]


def _short(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: max(0, width - 3)]}{'...'[:width]}"
