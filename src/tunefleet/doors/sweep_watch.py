"""`tunefleet sweep watch`: advances a sweep and shows its trials until it is over."""

from __future__ import annotations

import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tunefleet.base import stdio
from tunefleet.base.errors import INTERRUPTED
from tunefleet.base.sweeps import SweepPaths
from tunefleet.base.text import in_one_line
from tunefleet.doors import sweep_advance, sweep_status
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.driver import Progress
from tunefleet.sweep.leaderboard import rows
from tunefleet.sweep.study import Score

_ROWS = 15
_HEAD = ("trial", "state", "rung", "score", "settings")


def watch(paths: SweepPaths) -> int:
    """Returns the exit code. Ctrl-C lets trials of this machine save, and leaves jobs alone."""
    paths, definition, planner = sweep_advance.opened(paths.root)
    console = Console(file=stdio.styled(sys.stdout), force_terminal=sys.stdout.isatty())
    try:
        with Live(console=console, auto_refresh=False, transient=not console.is_terminal) as live:
            return sweep_advance.watch(
                paths, definition, planner, lambda progress: live.update(_screen(definition, progress), refresh=True)
            )
    except KeyboardInterrupt:
        print(f"\nThe jobs go on, and advance the sweep. Come back with: tunefleet sweep watch {definition.name}")
        return INTERRUPTED


def _screen(definition: Definition, progress: Progress) -> Group:
    """The first trials by result, and how all of them stand."""
    study = progress.study
    table = Table(*_HEAD, box=None, title=f"{definition.name}  {time.strftime('%H:%M:%S')}", title_justify="left")
    for row in rows(study, definition.sweep.objective)[:_ROWS]:
        trial = row.trial
        table.add_row(str(trial.number), trial.state.value, str(trial.rung), _score(row.score), in_one_line(trial.name))
    counts = sweep_status.counts(study, sweep_status.never_started(definition, study))
    waiting = f"; {progress.waiting} runs wait for room" if progress.waiting else ""
    over = f"; over: {study.closed}" if study.closed else ""
    return Group(table, Text(f"{counts}{waiting}{over}"))


def _score(score: Score | None) -> str:
    return " ".join(f"{mean:.4g}" for mean in score.means) if score else ""
