"""Run query: which rows of the list are asked for, in which order, which page of them."""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.board.run_list import RunRow

MOST_ROWS = 500  # of a page
_COMPARISON = re.compile(r"([^<>=]+)(<=|>=|=|<|>)(.*)")
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
COLUMNS: Mapping[str, Callable[[RunRow], Any]] = {
    "name": lambda row: row.name,
    "state": lambda row: row.state,
    "model": lambda row: row.model,
    "strategy": lambda row: row.strategy,
    "loss": lambda row: row.status.loss if row.status else None,
    "evaluation": lambda row: evaluated(row),
    "step": lambda row: row.status.step if row.status else None,
    "updated": lambda row: row.updated,
}
"""What can be sorted by, and compared in a filter: `loss<2`."""


@dataclass(frozen=True)
class RunQuery:
    """`text` are words that a row must all match; `states` those that are shown, all where there is none."""

    text: str = ""
    states: frozenset[str] = frozenset()
    sort: str = "updated"
    descending: bool = True
    page: int = 0
    size: int = 50


@dataclass(frozen=True)
class RunPageRows:
    """The rows of one page; `total` of all that match, and how many of those that match the words are in each state."""

    rows: Sequence[RunRow]
    total: int
    states: Mapping[str, int]


def answer(rows: Iterable[RunRow], query: RunQuery) -> RunPageRows:
    """The page of `rows` that is asked for."""
    fitting = _matching(list(rows), query.text.split())
    states = Counter(row.state for row in fitting)
    selected = [row for row in fitting if not query.states or row.state in query.states]
    ordered = _sorted(selected, COLUMNS.get(query.sort, COLUMNS["updated"]), query.descending)
    size = max(1, min(query.size, MOST_ROWS))
    first = max(0, query.page) * size
    return RunPageRows(ordered[first : first + size], len(selected), states)


def evaluated(row: RunRow) -> float | None:
    """The loss of the first split in the last evaluation."""
    measured = row.status.evaluation if row.status else {}
    return next((value for key, value in measured.items() if key.endswith("/loss")), None)


def _matching(rows: list[RunRow], terms: Sequence[str]) -> list[RunRow]:
    for term in terms:
        matches = _predicate(term, rows)
        rows = [row for row in rows if matches(row)]
    return rows


def _predicate(term: str, rows: Sequence[RunRow]) -> Callable[[RunRow], bool]:
    """Of `loss<2`, `optimizer.lr=1e-5`, or of a part of a name, model, state or reason."""
    comparison = _COMPARISON.fullmatch(term)
    if comparison and comparison[1] in COLUMNS:
        column, sign, bound = COLUMNS[comparison[1]], _SIGNS[comparison[2]], comparison[3]
        return lambda row: _compares(column(row), sign, bound)
    if comparison:
        return _of_settings(comparison[1], _SIGNS[comparison[2]], comparison[3], rows)
    part = term.lower()
    return lambda row: part in f"{row.name}\n{row.model}\n{row.strategy}\n{row.state}\n{row.reason}".lower()


def _of_settings(
    key: str, sign: Callable[[Any, Any], bool], bound: str, rows: Sequence[RunRow]
) -> Callable[[RunRow], bool]:
    """Each different text of a setting is compared once, however many runs have it."""
    texts = set[str]().union(*(row.settings for row in rows))
    of_key = (text for text in texts if text.startswith(f"{key}="))
    good = frozenset(text for text in of_key if _compares(text.partition("=")[2], sign, bound))
    return lambda row: not good.isdisjoint(row.settings)


def _compares(value: Any, sign: Callable[[Any, Any], bool], bound: str) -> bool:
    """As numbers where both are some, else as texts."""
    try:
        return value is not None and sign(float(value), float(bound))
    except ValueError:
        return bool(sign(str(value).lower(), bound.lower()))


def _sorted(rows: list[RunRow], column: Callable[[RunRow], Any], descending: bool) -> list[RunRow]:
    """Rows without a value last, whichever way; equal ones by name."""
    by_name = sorted(rows, key=lambda row: row.name)
    valued = [row for row in by_name if _is_valued(column(row))]
    missing = [row for row in by_name if not _is_valued(column(row))]
    return [*sorted(valued, key=column, reverse=descending), *missing]


def _is_valued(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
