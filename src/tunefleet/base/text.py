"""Printed text: aligned columns, and text of others without what a terminal would obey."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

_STYLES = re.compile(r"\x1b\[[0-9;:]*m")  # colours, which say nothing
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` without what a terminal obeys: escape sequences, control characters, changes of direction.

    They are shown as `\\x1b` and the like, line breaks of every kind are `\\n`, and colours are left out.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub(_shown, _LINE_ENDS.sub("\n", _STYLES.sub("", text)))


def in_one_line(text: str) -> str:
    """As `printable`, with line breaks and tabs as spaces, for a name or a reason in a line of ours."""
    return " ".join(printable(text).split("\n")).replace("\t", " ")


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines; every column but the last is padded to its widest cell."""
    rows = [[in_one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        lines.append("  ".join([*padded, row[-1]]).rstrip())
    return "\n".join(lines)


def listed(values: Mapping[str, str], width: int | None = None) -> str:
    """Names and values, a pair on each line; with a `width`, values go on below their beginning."""
    if width is None or not values:
        return columns(list(values.items())) if values else ""
    indent = max(map(len, values)) + 2
    room = max(20, width - indent)
    lines = []
    for name, value in values.items():
        parts = textwrap.wrap(in_one_line(value), room, break_on_hyphens=False) or [""]
        lines += [f"{in_one_line(name).ljust(indent)}{parts[0]}".rstrip(), *(" " * indent + part for part in parts[1:])]
    return "\n".join(lines)
