"""Where a run stands: reads and writes `status.json`."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from tunefleet.base import files


class State(Enum):
    """What a run is doing, or how it ended."""

    STARTING = "starting"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in (State.FINISHED, State.INTERRUPTED, State.FAILED)


@dataclass(frozen=True)
class Status:
    """One moment of a run. `seconds_left` is an estimate; `updated` is in seconds since 1970."""

    state: State
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    reason: str = ""
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    updated: float = field(default_factory=time.time)

    @property
    def age(self) -> float:
        """Seconds since this was written."""
        return max(0.0, time.time() - self.updated)

    def moved(self, **changes: Any) -> Status:
        """This status with `changes`, stamped now by this process."""
        return replace(self, pid=os.getpid(), host=socket.gethostname(), updated=time.time(), **changes)


def write(path: Path, status: Status) -> None:
    """Replaces the status file atomically."""
    files.write_json(path, {**asdict(status), "state": status.state.value})


def read(path: Path) -> Status | None:
    """The status in `path`, or None where there is none that can be read."""
    try:
        record = files.read_json(path)
        known = {f.name: record[f.name] for f in fields(Status) if f.name in record}
        return Status(**{**known, "state": State(record["state"])})
    except (OSError, json.JSONDecodeError, KeyError, ValueError, TypeError):
        return None
