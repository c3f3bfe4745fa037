"""Compare page: one HTML file about models that answered the same questions; it needs no other file and no network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.report import html_page

_GENERATOR = "tunefleet compare"
_HEAD = 500  # characters in which the mark is


def filled(labels: Sequence[str], tables: Mapping[str, Any], answers: Sequence[Mapping[str, str]], seed: int) -> str:
    """The page. `tables` are {title: {"heads": ..., "rows": ...}}, `answers` have a text for each of their columns."""
    title = " against ".join(labels)
    footnote = (
        f"Made {time.strftime('%Y-%m-%d %H:%M')}. Intervals of 95 % by paired bootstrap (Koehn 2004), 1000 samples, "
        f"seed {seed}."
    )
    content = {"title": title, "footnote": footnote, "tables": tables, "answers": answers}
    return html_page.filled("compare_page", _GENERATOR, title, content)


def is_ours(path: Path) -> bool:
    """Whether a file is a page of `tunefleet compare`, which the next one may replace."""
    try:
        return html_page.mark(_GENERATOR) in files.read_text(path)[:_HEAD]
    except (OSError, UnicodeDecodeError):
        return False
