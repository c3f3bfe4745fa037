"""Table of a grid: one line for each point."""

from __future__ import annotations

from collections.abc import Sequence

from tunefleet.base import text
from tunefleet.sweep.grid_point import HEAD, Point

_OPTIONAL = ("validation", "reason")


def table(points: Sequence[Point]) -> str:
    """A line for each point: settings, state, steps, losses, run, reason of failure; no empty column."""
    rows = [HEAD, *(point.row() for point in points)]
    columns = [i for i, name in enumerate(HEAD) if name not in _OPTIONAL or any(row[i] for row in rows[1:])]
    return text.columns([[row[i] for i in columns] for row in rows])
