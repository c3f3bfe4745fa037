"""Sweep page: one HTML file with a sweep's answer, which needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunefleet.report import html_page


@dataclass(frozen=True)
class PageRun:
    """A run of a trial: its name, its log, and {what it does: what is typed}."""

    name: str
    log: str
    commands: Mapping[str, str]


@dataclass(frozen=True)
class PageTrial:
    """A row of the leaderboard. `texts` and `values` are by column; `means` of the objectives, where it has some.

    `cost` is in hours of its processes; `settings` are {key: value} of the space.
    """

    number: int
    state: str
    rank: int | None
    on_front: bool
    texts: Sequence[str]
    values: Sequence[Any]
    means: Sequence[float] | None
    cost: float | None
    settings: Mapping[str, str]
    reason: str
    runs: Sequence[PageRun]


@dataclass(frozen=True)
class PageBest:
    """The winner: its trial, the objective in words, and {what it does: what is typed}."""

    trial: int
    result: str
    over: str
    settings: Mapping[str, str]
    commands: Mapping[str, str]


@dataclass(frozen=True)
class SweepPage:
    """Everything that a page shows, as plain data.

    `facts` are a card's lines; `columns` are {name, head, descending}; `objectives` are {name: min or max}; `curves`,
    `results`, `happenings` and `rungs` are records of the sweep's modules of these names; `left_out` are pairs of
    settings and reason.
    """

    name: str
    question: str
    footnote: str
    best: PageBest | None
    facts: Mapping[str, str]
    objectives: Mapping[str, str]
    cost_unit: str
    columns: Sequence[Mapping[str, Any]]
    trials: Sequence[PageTrial]
    settings: Sequence[str]
    curves: Sequence[Mapping[str, Any]]
    curves_note: str
    importance: Mapping[str, float]
    importance_note: str
    results: Sequence[Mapping[str, Any]]
    happenings: Sequence[Mapping[str, Any]]
    rungs: Sequence[Mapping[str, Any]]
    left_out: Sequence[tuple[str, str]]


def filled(page: SweepPage) -> str:
    """The page. Whatever a text holds is shown as text."""
    return html_page.filled("sweep_page", "tunefleet sweep report", page.name, asdict(page))
