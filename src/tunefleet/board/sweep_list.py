"""Sweep list: how the sweeps of a folder stand, and the page of each; made again only where a file has changed."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tunefleet.base import sweeps
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.sweeps import SweepPaths
from tunefleet.board.run_files import Mark, is_shown_name, leads_out, mark
from tunefleet.board.run_list import RunList
from tunefleet.board.sweep_view import page_of
from tunefleet.launch.run_state import StatusReader
from tunefleet.sweep import leaderboard_columns, sweep_record
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.study import fold

_PAUSE = 5.0  # seconds for which the page of a sweep that goes on is not made again, at least
_SHARE = 5.0  # times what it took


@dataclass(frozen=True)
class SweepRow:
    """One line of the list; `searches` is false for a plain grid, which takes no acts of a sweep."""

    name: str
    searches: bool
    trials: int
    states: Mapping[str, int]
    over: str
    updated: float


@dataclass(frozen=True)
class _CachedPage:
    """A page as it was made, what it was made of, and until when it is not made again."""

    marks: tuple[Any, ...]
    until: float
    page: dict[str, Any]


class SweepList:
    """The sweeps beside the runs of `runs`. Its methods may be called from any thread."""

    def __init__(self, runs: RunList) -> None:
        self._runs, self._folder = runs, runs.outputs / "sweeps"
        self._rows: dict[str, tuple[tuple[Mark | None, ...], SweepRow, Sequence[str]]] = {}
        self._pages: dict[str, _CachedPage] = {}
        self._turn = threading.Lock()

    def rows(self) -> list[SweepRow]:
        """By time, the newest first."""
        rows = [row for name in self._names() if (row := self._row(name))]
        return sorted(rows, key=lambda row: row.updated, reverse=True)

    def paths(self, name: str) -> SweepPaths | None:
        """The sweep of this name; None where the folder has none, whatever the name holds."""
        return SweepPaths(self._folder / name) if name in self._names() else None

    def page(self, paths: SweepPaths) -> tuple[dict[str, Any], str]:
        """What its page shows, and a version that changes with it. Raises `RunError` where it cannot be read."""
        with self._turn:
            cached = self._pages.get(paths.root.name)
            is_fresh = cached and time.monotonic() < cached.until
            if cached is None or not (is_fresh or cached.marks == self._marks(paths, cached.page)):
                cached = self._make_page(paths)
                self._pages[paths.root.name] = cached
            return cached.page, f"{hash(cached.marks) & (2**53 - 1):x}"

    def _make_page(self, paths: SweepPaths) -> _CachedPage:
        started = time.monotonic()
        record = sweep_record.read(paths, StatusReader(settles=False))
        folders = {Path(run.run_dir) for trial in record.study.trials.values() for run in trial.runs}
        strays = [folder.name for folder in folders if leads_out(RunPaths(folder).metrics, self._runs.outputs)]
        if strays:
            raise RunError(f"{record.name}: {strays[0]} leads out of {self._runs.outputs}, and is not shown.")
        rows, columns = sweep_record.rows(record), leaderboard_columns.of_record(record)
        page = asdict(page_of(record, rows, columns, {}))
        ended = time.monotonic()
        return _CachedPage(self._marks(paths, page), ended + max(_PAUSE, _SHARE * (ended - started)), page)

    def _marks(self, paths: SweepPaths, page: Mapping[str, Any]) -> tuple[Any, ...]:
        """Marks of everything that a page was made of: the sweep's own files and the states and steps of its runs."""
        names = [run["name"] for trial in page["trials"] for run in trial["runs"]]
        rows = self._runs.rows
        runs = tuple((row.updated, row.state) for name in names if (row := rows.get(name)))
        return (*_own_marks(paths), runs)

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._folder) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        if leads_out(self._folder, self._runs.outputs):
            return []
        return [name for name in names if is_shown_name(name) and any(_own_marks(SweepPaths(self._folder / name)))]

    def _row(self, name: str) -> SweepRow | None:
        paths = SweepPaths(self._folder / name)
        marks = _own_marks(paths)
        if name not in self._rows or self._rows[name][0] != marks:
            row, points = (_of_search(paths), ()) if mark(paths.definition) else _of_grid(self._runs.outputs, paths)
            if row is None:
                return None
            self._rows[name] = (marks, row, points)
        _, row, points = self._rows[name]
        return replace(row, states=self._states(points)) if points else row

    def _states(self, points: Sequence[str]) -> dict[str, int]:
        """How many of the runs of a grid are in each state; those that have no directory yet never started."""
        rows = self._runs.rows
        return dict(Counter(row.state if (row := rows.get(name)) else "never started" for name in points))


def _own_marks(paths: SweepPaths) -> tuple[Mark | None, ...]:
    return tuple(mark(path) for path in (paths.definition, paths.journal, paths.root / "sweep.json"))


def _of_search(paths: SweepPaths) -> SweepRow:
    """As its journal says."""
    events = Journal.read(paths.journal).events if mark(paths.journal) else []
    study = fold(events)
    states = dict(Counter(trial.state.value for trial in study.trials.values()))
    updated = events[-1].at if events else _written(paths.definition)
    return SweepRow(paths.root.name, True, len(study.trials), states, study.closed, updated)


def _of_grid(outputs: Path, paths: SweepPaths) -> tuple[SweepRow | None, Sequence[str]]:
    """A row without states, and the names of its runs, whose states come and go without a file of the sweep."""
    grid = sweeps.read(outputs, paths.root.name)
    if grid is None:
        return None, ()
    updated = _written(paths.root / "sweep.json")
    return SweepRow(paths.root.name, False, len(grid.points), {}, "", updated), [
        Path(point.run_dir).name for point in grid.points
    ]


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
