"""Run list: how all runs of a folder stand, kept in memory; only files that changed are read again."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.base import status
from tunefleet.base.paths import NOT_RUNS, RunPaths
from tunefleet.base.status import Status
from tunefleet.board.run_files import Mark, is_shown_name, mark
from tunefleet.config.load import leaves
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader

SHOWN_EVERY = 500  # runs of the first refresh, which may take long
QUEUE_AGE = 30.0  # seconds for which SLURM's answer, and that a process lives, is believed
_ABSENT: Mark = (0, 0, 0)


@dataclass(frozen=True)
class RunRow:
    """One line of the list. `settings` are all `key=value` of its configuration, each text held once in memory.

    `status` is as a reader sees it, None for a run that never began; `planned` in seconds since 1970.
    """

    run: Run
    status: Status | None
    settings: Sequence[str]
    model: str
    strategy: str
    planned: float

    @property
    def name(self) -> str:
        """The run's."""
        return self.run.name

    @property
    def state(self) -> str:
        """As one word."""
        return self.status.state.value if self.status else "planned"

    @property
    def updated(self) -> float:
        """Seconds since 1970."""
        return self.status.updated if self.status else self.planned

    @property
    def reason(self) -> str:
        """Why it stands so, with what the run says of itself."""
        if self.status is None:
            return ""
        parts = (self.status.cause.value, self.status.reason, self.status.note)
        return ": ".join(part for part in parts if part)


@dataclass
class _Entry:
    """What is remembered of a run: marks of its files as they were read, and what they held."""

    plan_mark: Mark = _ABSENT
    status_mark: Mark | None = None
    written: Status | None = None
    row: RunRow | None = None
    checked_by: StatusReader | None = None


class RunList:
    """The rows of `outputs`, which is an absolute path without links. Its methods may be called from any thread."""

    def __init__(self, outputs: Path, reader: Callable[[], StatusReader] | None = None) -> None:
        self.outputs = outputs
        self._new_reader = reader or (lambda: StatusReader(settles=False))
        self._reader, self._renewed = self._new_reader(), time.monotonic()
        self._entries: dict[str, _Entry] = {}
        self._turn, self._refreshing = threading.Lock(), threading.Lock()
        self._rows: Mapping[str, RunRow] = {}
        self.progress = (0, 0)
        """How many runs the first refresh has looked at, of how many."""

    @property
    def rows(self) -> Mapping[str, RunRow]:
        """By name, as of the last refresh."""
        return self._rows

    def refresh(self) -> None:
        """Looks at every run: one question for its status file's time and size, and a read of what has changed."""
        with self._refreshing:
            names = _run_names(self.outputs)
            with self._turn:
                self._renew_reader()
                for removed in self._entries.keys() - set(names):
                    del self._entries[removed]
            rows: dict[str, RunRow] = {}
            is_first = not self._rows
            for index, name in enumerate(names):
                with self._turn:  # anew for each: a page of one run need not wait for ten thousand
                    row = self._look(name)
                if row:
                    rows[name] = row
                if is_first and index % SHOWN_EVERY == 0:
                    self._rows, self.progress = dict(rows), (index, len(names))
            self._rows, self.progress = rows, (len(names), len(names))

    def row(self, name: str) -> RunRow | None:
        """One run as it stands now; None where the folder has none of that name, whatever the name holds."""
        with self._turn:
            if name not in self._entries and name not in _run_names(self.outputs):
                return None
            self._renew_reader()
            return self._look(name)

    def _renew_reader(self) -> None:
        if time.monotonic() - self._renewed > QUEUE_AGE:
            self._reader, self._renewed = self._new_reader(), time.monotonic()

    def _look(self, name: str) -> RunRow | None:
        entry, paths = self._entries.setdefault(name, _Entry()), RunPaths(self.outputs / name)
        status_mark = mark(paths.status)
        has_changed = entry.row is None or status_mark != entry.status_mark
        if has_changed:
            planned = mark(paths.plan)
            if planned is None:
                self._entries.pop(name)
                return None
            if planned != entry.plan_mark:
                entry.row, entry.plan_mark = _row(Run(paths), planned), planned
            entry.written = status.read(paths.status) if status_mark else None
            entry.status_mark = status_mark
        if has_changed or self._is_due(entry):
            self._check(entry)
        return entry.row

    def _is_due(self, entry: _Entry) -> bool:
        """Whether a run that has not ended is to be looked for among processes and jobs again."""
        return bool(entry.written and not entry.written.state.final and entry.checked_by is not self._reader)

    def _check(self, entry: _Entry) -> None:
        assert entry.row
        standing = self._reader.checked(entry.row.run.paths, entry.written)
        row = entry.row
        entry.row = RunRow(row.run, standing, row.settings, row.model, row.strategy, row.planned)
        entry.checked_by = self._reader


def _run_names(outputs: Path) -> list[str]:
    """Folders that may be runs; none that is a link, which could lead out of `outputs`."""
    try:
        with os.scandir(outputs) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(name for name in names if name not in NOT_RUNS and is_shown_name(name))


def _row(run: Run, planned: Mark) -> RunRow:
    """Without its status. The plan is not kept: ten thousand of them take hundreds of megabytes."""
    config = run.plan.get("config")
    try:
        pairs = list(leaves(config)) if isinstance(config, Mapping) else []
    except RecursionError:  # no plan of ours is nested so deeply
        pairs = []
    settings = tuple(sys.intern(f"{key}={_text(value)}") for key, value in pairs)
    model, strategy = _text(run.setting("model")), _text(run.setting("parallel"))
    return RunRow(Run(run.paths), None, settings, sys.intern(model), sys.intern(strategy), planned[0] / 1e9)


def _text(value: Any) -> str:
    if value is None or isinstance(value, (bool, list, Mapping)):
        return "" if value is None else json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
