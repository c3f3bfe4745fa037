"""What one asks of data before training: `tunefleet data show` and `tunefleet data stats`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.doors import coloured, compose
from tunefleet.doors.rank import prepare_environment
from tunefleet.plan import Machine, Plan, make


def show(words: Sequence[str], count: int, html: Path | None) -> None:
    """Prints the first rows that `train.py WORDS` would train on, what is learnt coloured; or writes them as HTML."""
    if count < 1:
        raise ConfigError(f"-n {count}: there is nothing to show. Use 1 or more.")
    plan = _ready(words)
    from tunefleet.runs import look  # transformers starts here

    found = look.rows(plan, count)
    if html is None:
        console = Console(highlight=False, soft_wrap=True)
        for row in found:
            console.print(coloured.text(row, colours=console.is_terminal), markup=False)
    else:
        files.write_text(html, coloured.page(plan.name, found))
        print(os.path.relpath(html))


def stats(words: Sequence[str]) -> None:
    """Prints what `train.py WORDS` would read, drop, cut and learn, with the lengths of its rows."""
    plan = _ready(words)
    from tunefleet.runs import look
    from tunefleet.runs.histogram import report

    for name, lengths in look.lengths(plan).items():
        print(report(name, lengths, packed=plan.config.data.packing))


def _ready(words: Sequence[str]) -> Plan:
    plan = make(compose.from_words(words), Machine.this())
    prepare_environment(plan)
    return plan
