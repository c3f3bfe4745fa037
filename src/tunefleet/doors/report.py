"""`tunefleet report`: a page about a run, or comparing several, made again at each call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.launch.register import Run
from tunefleet.report import run_page


def report(runs: Sequence[Run], to: Path | None, outputs: Path) -> None:
    """Writes the page and prints where it is: RUN/report.html, of several runs `outputs`/report.html.

    Raises `ConfigError` where `to` is there already and is no page of this command.
    """
    page = to or (runs[0].paths.report if len(runs) == 1 else outputs / "report.html")
    if os.path.lexists(page) and not run_page.is_ours(page):
        raise ConfigError(f"{page}: is there already, and no page of `tunefleet report`. Name another file with --to.")
    files.write_text(page, run_page.filled(runs))
    print(os.path.relpath(page))
