"""Run news: what came to a run since a page last asked, read from the bytes that were added to its metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tunefleet.base.status import Status
from tunefleet.launch.register import Run
from tunefleet.report import run_view
from tunefleet.report.run_view import RunView
from tunefleet.tracking import metrics
from tunefleet.tracking.series import Record, Series, timed

_OF_ALL_RECORDS = ("peak memory",)  # facts that new records alone do not tell


@dataclass(frozen=True)
class Cursor:
    """How far metrics.jsonl was read: the inode of the file, the byte, and the seconds and step of the last record.

    `samples` is the time at which samples.jsonl was written that the page shows, in nanoseconds since 1970.
    """

    file: int = 0
    offset: int = 0
    seconds: float = 0.0
    step: int = 0
    samples: int = 0


@dataclass(frozen=True)
class RunNews:
    """What a page changes. `restarted` says that the curves are whole: earlier ones go, as the run went back.

    `samples` are None where they are as they were.
    """

    cursor: Cursor
    restarted: bool
    state: str
    reason: str
    facts: Mapping[str, str]
    results: Mapping[str, float]
    curves: Mapping[str, Series]
    samples: Sequence[Mapping[str, str]] | None


def first(run: Run, current: Status | None) -> tuple[RunView, Cursor]:
    """The whole view of a run that stands like this, and from where to ask for news."""
    records, cursor, _ = _since(run, Cursor())
    return run_view.view_of(run, current, records), replace(cursor, samples=_written(run))


def news(run: Run, current: Status | None, cursor: Cursor) -> RunNews:
    """What came since `cursor`; the bytes before it are not read again, unless the file is another one."""
    records, latest, restarted = _since(run, cursor)
    written = _written(run)
    facts = run_view.facts(run, current, records)
    return RunNews(
        cursor=replace(latest, samples=written),
        restarted=restarted,
        state=current.state.value if current else "unknown",
        reason=run_view.reason(current),
        facts={name: text for name, text in facts.items() if restarted or name not in _OF_ALL_RECORDS},
        results=run_view.results(records),
        curves=run_view.curves(records),
        samples=None if written == cursor.samples else run_view.samples(run),
    )


def _since(run: Run, cursor: Cursor) -> tuple[list[Record], Cursor, bool]:
    """Timed records, the cursor behind them, and whether they are all of the file."""
    try:
        status = os.stat(run.paths.metrics)
        restarted = status.st_ino != cursor.file or status.st_size < cursor.offset
        start = Cursor(file=status.st_ino) if restarted else cursor
        if status.st_size == start.offset:
            return [], start, restarted
        rows, offset = metrics.read_from(run.paths.metrics, start.offset)
    except OSError:
        return [], Cursor(), cursor.offset > 0
    records = list(timed(rows, start.seconds, start.step))
    steps = [record["step"] for record in records if "train/seconds" in record]
    seconds = records[-1]["seconds"] if records else start.seconds
    return list[Record](records), Cursor(start.file, offset, seconds, steps[-1] if steps else start.step), restarted


def _written(run: Run) -> int:
    """When the answers were written; 0 where there are none."""
    try:
        return os.stat(run.paths.samples).st_mtime_ns
    except OSError:
        return 0
