"""`tunefleet data show`, `data stats` and `data prepare`: the data before training."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tunefleet.base import files, stdio, text
from tunefleet.base.errors import ConfigError
from tunefleet.doors import compose, highlight
from tunefleet.doors.rank import prepare_environment
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan import Machine, Plan, make
from tunefleet.report import data_page

_ROWS = 5  # shown where no number is given


@dataclass(frozen=True)
class RowOptions:
    """Which rows to show: options of `data show`. A `seed` of -1 is any."""

    count: int | None
    row: int | None
    seed: int | None
    split: str


def show(argv: Sequence[str], options: RowOptions, html: Path | None) -> None:
    """Prints rows that `train.py OVERRIDES` would train on, the tokens in the loss coloured; or writes them as HTML."""
    _expect_possible(options)
    if html is not None:
        expect_free(html)
    plan = _ready(argv)
    with heavy_imports(models=False):
        from tunefleet.data.shown_rows import Choice
        from tunefleet.runs import data_preview  # transformers starts here

    seed = random.randrange(10**6) if options.seed == -1 else options.seed
    count = options.count or (1 if options.row else _ROWS)
    shown = data_preview.rows(plan, Choice(count, options.row, seed, options.split))
    if options.seed == -1:
        print(f"drawn with --random {seed}", flush=True)
    if html is None:
        console = Console(
            file=stdio.styled(sys.stdout), highlight=False, soft_wrap=True, force_terminal=sys.stdout.isatty()
        )
        for row in shown:
            console.print(highlight.text(row, colours=console.is_terminal), markup=False)
    else:
        files.write_text(html, highlight.page(plan.name, shown))
        print(os.path.relpath(html))


def _expect_possible(options: RowOptions) -> None:
    if options.count is not None and options.count < 1:
        raise ConfigError(f"-n {options.count}: there is nothing to show. Use 1 or more.")
    if options.row is not None and options.row < 1:
        raise ConfigError(f"--row {options.row}: rows are counted from 1.")
    if options.row is not None and options.seed is not None:
        raise ConfigError("--row and --random: a row is named or drawn. Leave out one of them.")


def expect_free(page: Path) -> None:
    """Raises `ConfigError` where something else than a page of ours is there: nothing of a user's is replaced."""
    try:
        is_ours = not page.exists() or files.read_text(page).startswith(data_page.BEGINNING)
    except (OSError, UnicodeDecodeError):
        is_ours = False
    if not is_ours:
        raise ConfigError(f"--html {page}: is there already, and no page of `data show`. Name another file.")


def prepare(argv: Sequence[str]) -> None:
    """Prepares what `train.py OVERRIDES` would train on, as the run itself would, and prints what it is, and where."""
    plan = _ready(argv)
    with heavy_imports(models=False):
        from tunefleet.runs import data_preview, data_summary

    started = time.monotonic()
    dataset = data_preview.prepared(plan)
    origin = "found there, every byte as it was written," if dataset.was_cached else "prepared"
    saved_to = f"{os.path.relpath(dataset.folder)}, {origin} in {time.monotonic() - started:.1f} s"
    print(text.listed({**data_summary.rows(plan, dataset), "saved to": saved_to}))


def stats(argv: Sequence[str]) -> None:
    """Prints what `train.py OVERRIDES` would read, drop and cut, with the lengths of its rows."""
    plan = _ready(argv)
    with heavy_imports(models=False):
        from tunefleet.runs import data_preview
        from tunefleet.runs.histogram import report

    for name, lengths in data_preview.lengths(plan).items():
        print(report(name, lengths, packed=plan.config.data.packing))


def _ready(argv: Sequence[str]) -> Plan:
    plan = make(compose.from_overrides(argv), Machine.this())
    prepare_environment(plan)
    return plan
