"""`tunefleet sweep top` and `best`: the trials of a sweep by their results, and the best of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tunefleet.base import fitting
from tunefleet.base.errors import DONE, FAILED
from tunefleet.sweep import leaderboard, leaderboard_columns, leaderboard_formats, sweep_record
from tunefleet.sweep.find_sweep import named
from tunefleet.sweep.leaderboard import Row
from tunefleet.sweep.sweep_record import SweepRecord
from tunefleet.sweep.trial_commands import commands

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


def top(name: str, outputs: Path, options: TopOptions) -> None:
    """Prints the leaderboard. Raises `RunError` for no sweep, `ConfigError` for no column."""
    record = sweep_record.read(named(name, outputs))
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


def best(name: str, outputs: Path) -> int:
    """Prints the best finished trial and what to type next; the exit code says whether there is one."""
    record = sweep_record.read(named(name, outputs))
    row = leaderboard.winner(record.study, record.objectives)
    if row is None:
        print(f"{record.name}: no trial has finished. tunefleet sweep top {record.name} shows how they stand.")
        return FAILED
    print(fitting.card(_card(record, row), fitting.terminal_width()))
    return DONE


def _card(record: SweepRecord, row: Row) -> dict[str, str]:
    run, replicates = row.trial.runs[0], len(row.trial.runs)
    over_seeds = f", mean ± standard deviation of {replicates} seeds" if replicates > 1 else ", one seed"
    differing = leaderboard.differing_keys(record.study)
    settings = " ".join(f"{key}={value}" for key, value in row.trial.values.items() if key in differing)
    return {
        "sweep": f"{record.name}: trial {row.trial.number} is the best of {len(record.study.trials):,}",
        **{
            objective: leaderboard_columns.with_spread(mean, leaderboard_columns.spread_of(row, place)) + over_seeds
            for place, objective in enumerate(record.objectives)
            if (mean := leaderboard_columns.mean_of(row, place)) is not None
        },
        "differs": settings or "nothing: it is the only trial",
        "runs" if replicates > 1 else "run": " ".join(os.path.relpath(run.run_dir) for run in row.trial.runs),
        **commands(run),
        **({"experiment": os.path.relpath(record.paths.best)} if record.paths.best.exists() else {}),
    }
