"""Run page: one HTML file about a run, or comparing several, which needs no other file and no network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunefleet.base import files
from tunefleet.launch.register import Run
from tunefleet.report import html_page
from tunefleet.report.run_view import RunView, view

_GENERATOR = "tunefleet report"
_HEAD = 500  # characters in which the mark is


@dataclass(frozen=True)
class RunPage:
    """Everything that a page shows; `differing` are the settings that are not the same in all runs."""

    title: str
    footnote: str
    runs: Sequence[RunView]
    differing: Sequence[str]


def filled(runs: Sequence[Run]) -> str:
    """The page of these runs. Whatever a text holds is shown as text."""
    views = [view(run) for run in runs]
    typed = " ".join(run.name for run in runs)
    title = typed if len(runs) == 1 else f"{len(runs)} runs compared"
    footnote = f"Made {time.strftime('%Y-%m-%d %H:%M')}. Again: tunefleet report {typed}"
    page = RunPage(title, footnote, views, differing([view.settings for view in views]))
    return html_page.filled("run_page", _GENERATOR, title, asdict(page))


def differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys whose values are not the same in all, or that some have not; but for the name, which is the column's."""
    keys = dict.fromkeys(key for values in settings for key in values if key != "name")
    return [key for key in keys if len({values.get(key) for values in settings}) > 1]


def is_ours(path: Path) -> bool:
    """Whether a file is a page of `tunefleet report`, which the next one may replace."""
    try:
        return html_page.mark(_GENERATOR) in files.read_text(path)[:_HEAD]
    except (OSError, UnicodeDecodeError):
        return False
