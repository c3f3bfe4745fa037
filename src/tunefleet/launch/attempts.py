"""Attempts of a run: a line in attempts.jsonl for every start and end."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import BinaryIO

from tunefleet.base import disk, files, reserve, status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause


@dataclass(frozen=True)
class Attempt:
    """One start of a run; `first` and `last` are the checkpointed steps before and after it.

    `submission` is one for all starts that follow from one command; `job` is SLURM's number, empty on this machine.
    """

    submission: str
    job: str
    started: float
    first: int
    last: int | None = None
    cause: Cause = Cause.NONE
    reason: str = ""

    @property
    def made_progress(self) -> bool:
        """Whether it left a newer checkpoint than it found."""
        return self.last is not None and self.last > self.first


def read(run: RunPaths, submission: str) -> list[Attempt]:
    """The attempts of one submission, oldest first. One that was killed ends where the next began."""
    attempts: list[Attempt] = []
    for attempt in _all(run.attempts):
        if attempt.submission != submission:
            continue
        if attempts and attempts[-1].started == attempt.started:
            attempts.pop()
        elif attempts and attempts[-1].last is None:
            attempts[-1] = replace(attempts[-1], last=attempt.first)
        attempts.append(attempt)
    return attempts


def write(run: RunPaths, attempt: Attempt) -> None:
    """Adds a line, on a full disk too; the end of an attempt repeats its beginning. Raises `DiskError`."""
    line = json.dumps({**asdict(attempt), "cause": attempt.cause.value})

    def append() -> None:
        with disk.writing(run.attempts, len(line)), open(run.attempts, "ab+", opener=files.no_link) as stream:
            stream.write(f"{_to_a_new_line(stream)}{line}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())

    reserve.spend(run.root, append)


def _to_a_new_line(stream: BinaryIO) -> str:
    """What ends a line that a crash cut off, so that the next is not lost with it."""
    if not stream.seek(0, os.SEEK_END):
        return ""
    stream.seek(-1, os.SEEK_END)
    return "" if stream.read(1) == b"\n" else "\n"


def begin(run: RunPaths, submission: str, job: str) -> Attempt:
    """Writes down that an attempt starts."""
    run_status = status.read(run.status)
    attempt = Attempt(submission, job, time.time(), run_status.saved_step if run_status else 0)
    write(run, attempt)
    return attempt


def _all(path: Path) -> list[Attempt]:
    try:
        lines = files.read_bytes(path).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [attempt for line in lines if (attempt := _attempt(line))]


def _attempt(line: str) -> Attempt | None:
    """The attempt in a line; None for one that a crash cut off or a disk spoiled."""
    try:
        record = json.loads(line)
        values = {f.name: record[f.name] for f in fields(Attempt) if f.name in record}
        return Attempt(**{**values, "cause": Cause(record["cause"])})
    except (ValueError, TypeError, KeyError):
        return None
