"""`tunefleet sweep top`: the trials of a sweep by their results."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base import fitting
from tunefleet.base.sweeps import SweepPaths
from tunefleet.sweep import leaderboard_columns, leaderboard_formats, sweep_record

_ROWS = 20  # of a table, unless more are asked for


@dataclass(frozen=True)
class TopOptions:
    """What was typed: names of columns, the column to sort by, how many rows, and in which format."""

    columns: tuple[str, ...] = ()
    sort: str = ""
    limit: int | None = None
    every_trial: bool = False
    json: bool = False
    csv: bool = False


def top(paths: SweepPaths, options: TopOptions) -> None:
    """Prints the leaderboard. Raises `ConfigError` for a column that is not there."""
    record = sweep_record.read(paths)
    columns, rows = leaderboard_columns.of_record(record), sweep_record.rows(record)
    if options.sort:
        rows = leaderboard_columns.sort(rows, leaderboard_columns.select(columns, [options.sort])[0])
    if options.json or options.csv:
        shown = leaderboard_columns.select(columns, options.columns) if options.columns else columns
        write = leaderboard_formats.json_text if options.json else leaderboard_formats.csv_text
        print(write(rows[: options.limit], shown))
    else:
        limit = len(rows) if options.every_trial else options.limit or _ROWS
        print(leaderboard_formats.headline(record, rows))
        shown = leaderboard_columns.select(columns, options.columns)
        print(leaderboard_formats.table(rows[:limit], shown, fitting.terminal_width()))
        if len(rows) > limit:
            print(f"{limit:,} of {len(rows):,} trials; --all shows them all")
