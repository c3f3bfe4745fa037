"""Status of a run: reads and writes `status.json`."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from tunefleet.base import files, ownership, reserve, secrets


class State(Enum):
    """What a run is doing, or how it ended."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CHECKPOINTING = "checkpointing"
    STALLED = "stalled"
    REQUEUED = "requeued"
    FINISHED = "finished"
    PAUSED = "paused"
    PRUNED = "pruned"
    INTERRUPTED = "interrupted"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in _FINAL

    @property
    def ended_well(self) -> bool:
        """Whether the run did all that it was asked to: it is at its end, or where its sweep lets it pause or stop."""
        return self in _GOOD

    @property
    def alive(self) -> bool:
        """Whether processes of the run should be there."""
        return self in (State.STARTING, State.RUNNING, State.CHECKPOINTING, State.STALLED)


_GOOD = (State.FINISHED, State.PAUSED, State.PRUNED)
_FINAL = (*_GOOD, State.INTERRUPTED, State.PREEMPTED, State.CANCELLED, State.FAILED)


class Cause(Enum):
    """Why an attempt ended before the run was finished."""

    NONE = ""
    RUNG = "rung"
    PRUNED = "pruned"
    STOP_FILE = "stop file"
    INTERRUPT = "interrupt"
    TERMINATED = "terminated"
    TIME_LIMIT = "time limit"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    OUT_OF_MEMORY = "out of memory"
    NON_FINITE = "non-finite loss"
    SPIKE = "loss spike"
    DRIFT = "replicas differ"
    NODE_FAILURE = "node failure"
    USER_ERROR = "user error"
    ERROR = "error"
    KILLED = "killed"
    LOST_PEER = "lost another process"
    HANG = "hang"
    NO_PROGRESS = "no progress"
    EXPORT = "export failed"
    DISK = "disk"


@dataclass(frozen=True)
class Status:
    """One moment of a run.

    `saved_step` is the newest checkpoint's; `seconds_left` is an estimate; `updated` is in seconds since
    1970; `job` is SLURM's number of the job, empty for runs outside SLURM; `restarts` counts how often the
    run has gone back into the queue; `evaluation` holds what the last evaluation measured, as `SPLIT/loss`.
    `best` is the best checkpoint that is there: its `step`, and its metric as `SPLIT/loss`.
    `tokens` counts those that the weights were trained on, `refused` the updates that
    were skipped or gone back before. `seconds` is the wall-clock time of rank 0 in all starts
    together, from reading data to the last save, steps that were lost included: times ranks, it is the run's cost.
    `note` is what the run says of itself while it goes on, as that a rank is slow; `save_seconds` is what its last save
    took.
    """

    state: State
    step: int = 0
    total_steps: int = 0
    saved_step: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    cause: Cause = Cause.NONE
    reason: str = ""
    job: str = ""
    restarts: int = 0
    evaluation: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    tokens: int = 0
    refused: int = 0
    seconds: float = 0.0
    note: str = ""
    save_seconds: float = 0.0
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    updated: float = field(default_factory=time.time)

    @property
    def age(self) -> float:
        """Seconds since this was written."""
        return max(0.0, time.time() - self.updated)

    def noted(self, reason: str, state: State | None = None) -> Status:
        """This status as a reader sees it: still the last update of the run's own processes."""
        return replace(self, reason=reason, state=state or self.state)

    def moved(self, **changes: Any) -> Status:
        """This status with `changes`, stamped now by this process."""
        return replace(self, pid=os.getpid(), host=socket.gethostname(), updated=time.time(), **changes)


UPDATES = threading.RLock()
"""Held by a thread of this process from reading a status to writing it: rank 0 has several that do."""


def write(path: Path, status: Status) -> None:
    """Replaces the status file atomically; a final one on a full disk too. Raises `DiskError`.

    The reason may be another program's text: secrets are taken out of it.
    """
    record = {**asdict(status), "state": status.state.value, "cause": status.cause.value}
    record["reason"] = secrets.redacted(status.reason)
    if status.state.final:
        reserve.spend(path.parent, lambda: files.write_json(path, record))
    else:
        files.write_json(path, record)


def read(path: Path) -> Status | None:
    """The status in `path`, or None where there is none that can be read, or that somebody else may have written."""
    if ownership.complaint_of_file(path):
        return None
    try:
        record = files.read_json(path)
        values = {f.name: record[f.name] for f in fields(Status) if f.name in record}
        pid = int(record.get("pid") or 0)
        if not all(_is_of_type(name, value) for name, value in values.items()):
            return None
        return Status(**{**values, "state": State(record["state"]), "cause": _cause(record), "pid": pid})
    except (OSError, KeyError, ValueError, TypeError, AttributeError):
        return None


def _is_of_type(name: str, value: Any) -> bool:
    """Whether a value of a file that may have been edited is a number where numbers are expected, or a text."""
    if name in _NUMBERS:
        return isinstance(value, (int, float)) or (value is None and name in _OPTIONAL)
    if name in ("evaluation", "best"):
        return isinstance(value, dict) and all(isinstance(number, (int, float)) for number in value.values())
    return name == "pid" or isinstance(value, str)


_OPTIONAL = ("loss", "tokens_per_second", "seconds_left")
_COUNTS = ("step", "total_steps", "saved_step", "restarts", "tokens", "refused")
_NUMBERS = (*_COUNTS, "updated", "seconds", "save_seconds", *_OPTIONAL)


def _cause(record: dict[str, Any]) -> Cause:
    """A newer version may know causes that we do not: the state is worth more."""
    try:
        return Cause(record.get("cause", ""))
    except ValueError:
        return Cause.NONE


def start_heartbeat(path: Path, seconds: float = 10.0) -> None:
    """Touches `path` every `every` seconds from a thread of its own, as long as this process lives."""

    def beat() -> None:
        while True:
            with suppress(OSError):  # a full or slow disk must not end the thread
                files.touch(path)
            time.sleep(seconds)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


def seconds_since_heartbeat(path: Path) -> float:
    """Seconds since the last heartbeat in `path`; infinite where there was none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return math.inf
