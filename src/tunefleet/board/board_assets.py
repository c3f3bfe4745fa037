"""Board assets: the pages, styles and scripts of the board; a request names one of this closed list."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Template

from tunefleet.report import html_page

_CSS, _JAVASCRIPT = "text/css", "text/javascript"
_SCRIPTS = {
    "list": ("page.js", "live.js", "live_list.js"),
    "run": ("plotly.js", "page.js", "run_page.js", "live.js", "live_run.js"),
    "sweep": ("plotly.js", "page.js", "sweep_page.js", "live.js", "live_sweep.js"),
}
_OF_REPORT = ("page.css", "page.js", "run_page.js", "sweep_page.js")
_OF_BOARD = ("board.css", "live.js", "live_list.js", "live_run.js", "live_sweep.js")
_BODIES = {"run": "run_page.html", "sweep": "sweep_page.html"}


def asset(name: str) -> tuple[str, str] | None:
    """The text and the media type of a style or script; None for every other name."""
    texts = _assets()
    if name not in texts:
        return None
    return texts[name], _CSS if name.endswith(".css") else _JAVASCRIPT


@cache
def page(kind: str) -> str:
    """The page `list`, `run` or `sweep`. Nothing of a run is in it: its scripts ask for that."""
    shared = html_page.asset(_BODIES[kind]) if kind in _BODIES else ""
    body = Template(_board_asset(f"live_{kind}.html")).substitute(shared=shared)
    scripts = "\n".join(f'<script src="/assets/{name}"></script>' for name in _SCRIPTS[kind])
    return Template(_board_asset("board.html")).substitute(body=body, scripts=scripts)


@cache
def _assets() -> Mapping[str, str]:
    from plotly.offline import get_plotlyjs  # 0.2 s

    shared = {name: html_page.asset(name) for name in _OF_REPORT}
    return {**shared, **{name: _board_asset(name) for name in _OF_BOARD}, "plotly.js": get_plotlyjs()}


def _board_asset(name: str) -> str:
    return (resources.files("tunefleet.board") / "assets" / name).read_text(encoding="utf-8")
