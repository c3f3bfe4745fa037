"""HTML page: one file of data, style and scripts, which needs no other file and no network."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any


def mark(generator: str) -> str:
    """What the head of a page says of the command that made it."""
    return f'<meta name="generator" content="{generator}">'


def filled(name: str, generator: str, title: str, content: Mapping[str, Any]) -> str:
    """The page of `assets/NAME.html` and its script, in what all pages share, with `content`; texts are shown as text.

    `generator` is the command that makes it.
    """
    from plotly.offline import get_plotlyjs  # 0.2 s, and nothing else here needs it

    return Template(asset("page.html")).substitute(
        mark=mark(generator),
        title=html.escape(title),
        body=asset(f"{name}.html"),
        style=asset("page.css"),
        data=_json(content),
        plotly=get_plotlyjs(),
        script=asset("page.js") + asset(f"{name}.js"),
    )


def _json(content: Mapping[str, Any]) -> str:
    """As JSON that no text in it can end the element of, and that has no NaN, which JSON does not know."""
    text = json.dumps(finite(content), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def finite(value: Any) -> Any:
    """A JSON value with None in the place of NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def asset(name: str) -> str:
    """The text of a file of `report/assets`."""
    return (resources.files("tunefleet.report") / "assets" / name).read_text(encoding="utf-8")
