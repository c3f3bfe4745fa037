"""How often did a run start, and may it start again? Every start and end is a line in attempts.jsonl."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import BinaryIO

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause
from tunefleet.config.launch import LaunchConfig

_FRUITLESS = 2  # so many attempts in a row without a new checkpoint are enough
_AGAIN = (Cause.TIME_LIMIT, Cause.PREEMPTED, Cause.KILLED, Cause.NODE_FAILURE, Cause.LOST_PEER)


@dataclass(frozen=True)
class Attempt:
    """One start of a run in a job; `first` and `last` are the checkpointed steps before and after it."""

    submission: str
    job: str
    started: float
    first: int
    last: int | None = None
    cause: Cause = Cause.NONE

    @property
    def fruitful(self) -> bool:
        """Whether it left a newer checkpoint than it found."""
        return self.last is not None and self.last > self.first


def read(run: RunPaths, submission: str) -> list[Attempt]:
    """The attempts of one submission, oldest first. One that was killed ends where the next began."""
    found: list[Attempt] = []
    for attempt in _all(run.attempts):
        if attempt.submission != submission:
            continue
        if found and found[-1].started == attempt.started:
            found.pop()
        elif found and found[-1].last is None:
            found[-1] = replace(found[-1], last=attempt.first)
        found.append(attempt)
    return found


def write(run: RunPaths, attempt: Attempt) -> None:
    """Adds a line; the end of an attempt repeats its beginning."""
    line = json.dumps({**asdict(attempt), "cause": attempt.cause.value})
    with open(run.attempts, "ab+") as stream:
        stream.write(f"{_to_a_new_line(stream)}{line}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def _to_a_new_line(stream: BinaryIO) -> str:
    """What ends a line that a crash cut off, so that the next is not lost with it."""
    if not stream.seek(0, os.SEEK_END):
        return ""
    stream.seek(-1, os.SEEK_END)
    return "" if stream.read(1) == b"\n" else "\n"


def begin(run: RunPaths, submission: str, job: str) -> Attempt:
    """Writes down that an attempt starts."""
    now = status.read(run.status)
    attempt = Attempt(submission, job, time.time(), now.saved_step if now else 0)
    write(run, attempt)
    return attempt


def mendable(cause: Cause) -> bool:
    """Whether starting again may help."""
    return cause in _AGAIN


def refusal(cause: Cause, done: Sequence[Attempt], launch: LaunchConfig) -> str | None:
    """Why a run must not start again by itself after `done` attempts, the last of which ended by `cause`."""
    if not mendable(cause):
        return f"{cause.value} is not mended by starting again"
    if len(done) > launch.max_restarts:
        return f"launch.max_restarts={launch.max_restarts} are used up"
    recent = done[-_FRUITLESS:]
    if len(recent) == _FRUITLESS and not any(attempt.fruitful for attempt in recent):
        return f"the last {_FRUITLESS} attempts saved no new step: raise launch.time, or save more often"
    return None


def _all(path: Path) -> list[Attempt]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [attempt for line in lines if (attempt := _attempt(line))]


def _attempt(line: str) -> Attempt | None:
    """The attempt in a line; None for one that a crash cut off or a disk spoiled."""
    try:
        record = json.loads(line)
        known = {f.name: record[f.name] for f in fields(Attempt) if f.name in record}
        return Attempt(**{**known, "cause": Cause(record["cause"])})
    except (ValueError, TypeError, KeyError):
        return None
