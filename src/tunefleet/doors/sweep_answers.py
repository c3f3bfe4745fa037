"""Sweep answers: the commands `tunefleet sweep top`, `report` and `best` with their arguments and their help."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from tunefleet.base.errors import ConfigError

_SWEEP = ("sweep", {"metavar": "SWEEP", "help": "its name, the only beginning of it, or its folder"})
_COLUMNS = ("--columns", {"metavar": "COL,COL", "default": "", "help": "these columns alone: trial,state,lr"})
_SORT = ("--sort", {"metavar": "COL", "default": "", "help": "by this column, what is better or smaller first"})
_LIMIT = ("--limit", {"type": int, "metavar": "N", "help": "so many trials; 20 in a table, all in --json and --csv"})
_ALL = ("--all", {"action": "store_true", "dest": "every_trial", "help": "every trial"})
_JSON = ("--json", {"action": "store_true", "help": "every column, as JSON"})
_CSV = ("--csv", {"action": "store_true", "help": "every column, as CSV"})


def top(args: Namespace) -> None:
    """Prints the leaderboard of a sweep. Raises `ConfigError` for options that mean nothing."""
    from tunefleet.doors import sweep_top

    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit: {args.limit} is not allowed. Allowed: a whole number at least 1.")
    if args.json and args.csv:
        raise ConfigError("--json and --csv: only one at a time.")
    columns = tuple(name.strip() for name in args.columns.split(",") if name.strip())
    options = sweep_top.TopOptions(columns, args.sort, args.limit, args.every_trial, args.json, args.csv)
    sweep_top.top(args.sweep, args.outputs, options)


def report(args: Namespace) -> None:
    """Writes the report of a sweep."""
    from tunefleet.doors import sweep_report

    sweep_report.report(args.sweep, args.outputs)


def best(args: Namespace) -> int:
    """Prints the best trial of a sweep; the exit code."""
    from tunefleet.doors import sweep_best

    return sweep_best.best(args.sweep, args.outputs)


ANSWERS: Sequence[tuple[str, Callable[[Namespace], int | None], str, Sequence[tuple[str, dict[str, Any]]]]] = (
    ("top", top, "the trials by their results", [_SWEEP, _COLUMNS, _SORT, _LIMIT, _ALL, _JSON, _CSV]),
    ("best", best, "the trial that won, what to type next, and its experiment file", [_SWEEP]),
    ("report", report, "write a page that opens offline, a table and the winner's experiment file", [_SWEEP]),
)
