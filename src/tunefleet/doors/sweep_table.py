"""Sweep table: the commands of `tunefleet sweep ...` with their arguments and their help; Tab reads it too."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from tunefleet.doors import sweep_commands

_SWEEP = ("sweep", {"metavar": "SWEEP", "help": "its name, the only beginning of it, or its folder"})
_TRIAL = ("trial", {"metavar": "TRIAL", "type": int, "help": "the number of a trial"})
_TRIAL_OR_ALL = ("trial", {"metavar": "TRIAL", "type": int, "nargs": "?", "help": "one trial; without it the sweep"})
_TRIALS = ("trials", {"metavar": "TRIAL", "type": int, "nargs": "*", "help": "trials; all that failed without any"})
_SETTINGS = ("settings", {"metavar": "KEY=VALUE", "nargs": "*", "help": "as they are typed for train.py"})
_TOTAL = ("--trials", {"type": int, "dest": "total", "metavar": "N", "help": "trials in all, not that many more"})
_HOURS = ("--gpu-hours", {"type": float, "metavar": "H", "help": "GPU-hours in all"})
_IN_FLIGHT = ("--in-flight", {"type": int, "metavar": "N", "help": "runs that are queued or running at once"})
_WARM = ("--warm", {"action": "store_true", "help": "from the trial's trained weights"})
_COLUMNS = ("--columns", {"metavar": "COL,COL", "default": "", "help": "these columns alone: trial,state,lr"})
_SORT = ("--sort", {"metavar": "COL", "default": "", "help": "by this column, what is better or smaller first"})
_LIMIT = ("--limit", {"type": int, "metavar": "N", "help": "so many trials; 20 in a table, all in --json and --csv"})
_ALL = ("--all", {"action": "store_true", "dest": "every_trial", "help": "every trial"})
_JSON = ("--json", {"action": "store_true", "help": "every column, as JSON"})
_CSV = ("--csv", {"action": "store_true", "help": "every column, as CSV"})

SWEEP_COMMANDS: Sequence[tuple[str, Callable[[Namespace], int | None], str, Sequence[tuple[str, dict[str, Any]]]]] = (
    ("list", sweep_commands.listed, "searches and grids, and how they stand", []),
    ("status", sweep_commands.status, "how its trials stand, who advances it, what comes next", [_SWEEP]),
    ("watch", sweep_commands.watch, "advance it and show it until it is over; Ctrl-C leaves jobs alone", [_SWEEP]),
    ("top", sweep_commands.top, "its trials by their results", [_SWEEP, _COLUMNS, _SORT, _LIMIT, _ALL, _JSON, _CSV]),
    ("best", sweep_commands.best, "the trial that won, what to type next, and its experiment file", [_SWEEP]),
    (
        "report",
        sweep_commands.report,
        "write a page that opens offline, a table, and the winner as an experiment file",
        [_SWEEP],
    ),
    ("advance", sweep_commands.advance, "one round: settle what ended, decide, start what there is room for", [_SWEEP]),
    (
        "extend",
        sweep_commands.extend,
        "other limits, as totals, or other values of its space",
        [_SWEEP, _SETTINGS, _TOTAL, _HOURS, _IN_FLIGHT],
    ),
    ("retry", sweep_commands.retry, "start trials again that failed or were stopped", [_SWEEP, _TRIALS]),
    ("stop", sweep_commands.stop, "end a trial, or the sweep; what runs saves first", [_SWEEP, _TRIAL_OR_ALL]),
    ("resume", sweep_commands.resume, "train a paused, pruned or stopped trial to its end", [_SWEEP, _TRIAL]),
    ("clone", sweep_commands.clone, "try a trial's settings with changes, next", [_SWEEP, _TRIAL, _SETTINGS, _WARM]),
    ("pin", sweep_commands.pin, "try these settings next", [_SWEEP, _SETTINGS]),
)
