"""Commands of `tunefleet sweep`: what each does with its arguments; what it needs is imported when it is called."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tunefleet.base.errors import ConfigError
from tunefleet.doors.commands import outputs_of

if TYPE_CHECKING:
    from tunefleet.base.sweeps import SweepPaths


def listed(args: Namespace) -> None:
    """Prints a line for each sweep."""
    from tunefleet.doors import sweep_status

    sweep_status.listed(outputs_of(args))


def status(args: Namespace) -> None:
    """Prints how a sweep stands."""
    from tunefleet.doors import sweep_status

    sweep_status.status(_named(args))


def watch(args: Namespace) -> int:
    """Advances a sweep and shows it until it is over; the exit code."""
    from tunefleet.doors import sweep_watch

    return sweep_watch.watch(_named(args))


def top(args: Namespace) -> None:
    """Prints the leaderboard of a sweep. Raises `ConfigError` for options that mean nothing."""
    from tunefleet.doors import sweep_top

    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit: {args.limit} is not allowed. Allowed: a whole number at least 1.")
    if args.json and args.csv:
        raise ConfigError("--json and --csv: only one at a time.")
    columns = tuple(name.strip() for name in args.columns.split(",") if name.strip())
    options = sweep_top.TopOptions(columns, args.sort, args.limit, args.every_trial, args.json, args.csv)
    sweep_top.top(_named(args), options)


def best(args: Namespace) -> int:
    """Prints the best trial of a sweep; the exit code."""
    from tunefleet.doors import sweep_best

    return sweep_best.best(_named(args))


def report(args: Namespace) -> None:
    """Writes the report of a sweep."""
    from tunefleet.doors import sweep_report

    sweep_report.report(_named(args))


def advance(args: Namespace) -> None:
    """One round of a sweep."""
    from tunefleet.doors import sweep_acts

    sweep_acts.advance(_named(args))


def extend(args: Namespace) -> None:
    """Changes the limits of a sweep, or the values of its space."""
    from tunefleet.doors import sweep_acts

    limits = {"trials": args.total, "gpu_hours": args.gpu_hours, "in_flight": args.in_flight}
    sweep_acts.extend(_named(args), {key: value for key, value in limits.items() if value is not None}, args.settings)


def retry(args: Namespace) -> None:
    """Starts trials again that failed or were stopped."""
    from tunefleet.doors import sweep_acts

    sweep_acts.retry(_named(args), args.trials)


def stop(args: Namespace) -> None:
    """Ends a trial, or the sweep."""
    from tunefleet.doors import sweep_acts

    sweep_acts.stop(_named(args), args.trial)


def resume(args: Namespace) -> None:
    """Trains a trial to its end."""
    from tunefleet.doors import sweep_acts

    sweep_acts.resume(_named(args), args.trial)


def clone(args: Namespace) -> None:
    """Tries a trial's settings with changes."""
    from tunefleet.doors import sweep_acts

    sweep_acts.clone(_named(args), args.trial, args.settings, args.warm)


def pin(args: Namespace) -> None:
    """Tries settings next."""
    from tunefleet.doors import sweep_acts

    sweep_acts.pin(_named(args), args.settings)


def _named(args: Namespace) -> SweepPaths:
    from tunefleet.sweep import find_sweep

    outputs: Path = args.outputs
    return find_sweep.named(args.sweep, outputs)
