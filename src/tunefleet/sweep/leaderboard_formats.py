"""Leaderboard formats: rows of trials as a table of the terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence

from tunefleet.base import fitting
from tunefleet.sweep.leaderboard import Row
from tunefleet.sweep.leaderboard_columns import LeaderboardColumn, Value, hours
from tunefleet.sweep.sweep_record import SweepRecord


def headline(record: SweepRecord, rows: Sequence[Row]) -> str:
    """How many trials stand how, what they took together, which values are better, and why the sweep is over."""
    states = Counter(row.trial.state.value for row in rows)
    counts = ", ".join(f"{number:,} {state}" for state, number in states.most_common()) or "no trials"
    cost = hours(sum(row.measured.get("gpu_hours", 0.0) for row in rows))
    goals = ", ".join(f"{name} ({direction.value})" for name, direction in record.objectives.items())
    over = f"; over: {record.study.closed}" if record.study.closed else ""
    return f"{record.name}: {counts}; {cost} {record.cost_unit}; by {goals}{over}"


def table(rows: Sequence[Row], shown: Sequence[LeaderboardColumn], width: int | None) -> str:
    """The rows as lines of at most `width` letters."""
    columns = [
        fitting.Column(column.head, tuple(map(column.text, rows)), column.fits_last, column.flexible)
        for column in shown
    ]
    return fitting.table(columns, width) if rows else "no trials"


def records(rows: Sequence[Row], shown: Sequence[LeaderboardColumn]) -> list[dict[str, Value]]:
    """The rows as plain values."""
    return [{column.name: column.value(row) for column in shown} for row in rows]


def json_text(rows: Sequence[Row], shown: Sequence[LeaderboardColumn]) -> str:
    """The rows as a list of objects."""
    return json.dumps(records(rows, shown), indent=2, ensure_ascii=False)


def csv_text(rows: Sequence[Row], shown: Sequence[LeaderboardColumn]) -> str:
    """The rows as comma-separated values, under the names of their columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in shown])
    writer.writerows([column.value(row) for column in shown] for row in rows)
    return stream.getvalue().rstrip("\n")
