"""`tunefleet sweep report`: the page, the table and the experiment file of a sweep, made again at each call."""

from __future__ import annotations

import contextlib
import os

from tunefleet.base import files
from tunefleet.base.sweeps import SweepPaths
from tunefleet.board.sweep_view import page_of
from tunefleet.doors.sweep_best import write_best
from tunefleet.report.sweep_page import filled
from tunefleet.sweep import leaderboard_columns, leaderboard_formats, sweep_record


def report(paths: SweepPaths) -> None:
    """Writes the files and prints where they are. Raises `RunError` where there is no such sweep."""
    print(*write(paths), sep="\n")


def write_report(paths: SweepPaths) -> None:
    """As `report`, for whoever advances a sweep: what fails is one line, and the sweep goes on."""
    try:
        print(*write(paths), sep="\n", flush=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(f"no report was written: {reason}. Again: tunefleet sweep report {paths.root.name}", flush=True)


def write(paths: SweepPaths) -> list[str]:
    """Writes the table, the experiment file, where a trial has finished, and the page; returns a line for each."""
    paths = SweepPaths(paths.root.absolute())
    record = sweep_record.read(paths)
    rows, columns = sweep_record.rows(record), leaderboard_columns.of_record(record)
    files.write_text(paths.table, leaderboard_formats.csv_text(rows, columns) + "\n")
    with contextlib.chdir(record.folder):
        best = write_best(record)
        files.write_text(paths.page, filled(page_of(record, rows, columns, best.commands)))
    return [f"report  {os.path.relpath(path)}" for path in (paths.page, paths.table)] + best.lines()
