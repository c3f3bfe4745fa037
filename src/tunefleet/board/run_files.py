"""Run files: what a page may read of a run, none of it through a link that leads out of the outputs folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tunefleet.base import files, secrets
from tunefleet.base.paths import RunPaths
from tunefleet.base.text import printable
from tunefleet.launch import submission

TAIL = 1 << 16  # bytes of a log that a page begins with, and that one answer holds
Mark = tuple[int, int, int]
"""Time of change in nanoseconds, size and inode: what differs where a file was written."""


def is_shown_name(name: str) -> bool:
    """Whether a folder's name can be in an address: no hidden one, and none that is no text."""
    return not name.startswith(".") and name.isprintable()


def mark(path: Path) -> Mark | None:
    """The mark of a plain file; None where there is none, or a link in its place."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def leads_out(path: Path, outputs: Path) -> bool:
    """Whether `path`, once all its links are followed, is not below `outputs`, which is without links."""
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):
        return True
    return os.path.commonpath((real, outputs)) != str(outputs)


def escapes(run: RunPaths) -> list[str]:
    """The files of a run, of those that its page reads, that lead out of the folder of runs."""
    outputs = run.root.parent
    read = (run.root, run.plan, run.status, run.metrics, run.samples, run.data, run.provenance, run.submission)
    return [path.name for path in (*read, run.hang.parent, run.heartbeat) if leads_out(path, outputs)]


def log_of(run: RunPaths, rank: int) -> Path | None:
    """The rank's own log; before there is one, what the batch script of the run's job printed. None where neither is.

    A log that leads out of the folder of runs is none.
    """
    place = submission.place(run)
    batch = place.batch_log if place and place.job else None
    logs = [path for path in (run.log(rank), batch) if path and path.is_file()]
    return next((path for path in logs if not leads_out(path, run.root.parent)), None)


def log_part(path: Path, offset: int | None) -> tuple[str, int]:
    """Whole lines of a log from byte `offset` on, without secrets, and the byte behind them; None is near its end.

    A file that became shorter is read from its beginning.
    """
    size = os.stat(path).st_size
    start = max(0, size - TAIL) if offset is None else offset if offset <= size else 0
    content = files.read_part(path, start, TAIL)
    end = content.rfind(b"\n") + 1
    complete = content[: end or len(content) * (len(content) == TAIL)]  # a line that is being written comes next time
    lines = complete if start == 0 or offset is not None else complete[complete.find(b"\n") + 1 :]
    return printable(secrets.redacted(lines.decode("utf-8", "replace"))), start + len(complete)
