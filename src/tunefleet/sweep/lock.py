"""Lock of a sweep: who advances it now; a second one is refused, or waits for its turn."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tunefleet.base.errors import RunError
from tunefleet.base.file_lock import try_lock
from tunefleet.base.units import clock

_BEAT = 10.0  # seconds between two heartbeats
_SILENCE = 45.0  # seconds without one, after which an owner on another machine is taken to be gone
_POLL = 0.2  # seconds
_LOOK = 1.0  # seconds that a command which only asks for the owner may hold it


@dataclass(frozen=True)
class Owner:
    """The process that advances a sweep; `since` is in seconds since 1970."""

    host: str
    pid: int
    since: float

    def describe(self) -> str:
        """As it is shown."""
        return f"pid {self.pid} on {self.host}, since {clock(time.time() - self.since)}"


class SweepBusy(RunError):
    """Another process advances the sweep."""


@contextmanager
def hold(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Holds the lock at `path`, and touches it every ten seconds. Raises `SweepBusy` after `wait` seconds.

    A file lock alone is not trusted: some network disks keep it to one machine. An owner on another machine whose
    heartbeat is fresh counts too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as stream:
        _take(path, stream, time.monotonic() + max(wait, _LOOK))
        _write(stream, Owner(socket.gethostname(), os.getpid(), time.time()))
        done = threading.Event()
        threading.Thread(target=_beat, args=(path, done), name="sweep-lock", daemon=True).start()
        try:
            yield
        finally:
            done.set()
            stream.truncate(0)


def owner(path: Path) -> Owner | None:
    """Who holds the lock; None where nobody does."""
    try:
        with open(path, "a+") as stream:
            if try_lock(stream):
                return _foreign(path)
            return _read(path) or Owner("an unknown machine", 0, time.time())
    except OSError:
        return None


def _take(path: Path, stream: IO[str], deadline: float) -> None:
    while True:
        free = try_lock(stream)
        rival = _foreign(path) if free else _read(path)
        if free and rival is None:
            return
        if free:
            fcntl.flock(stream, fcntl.LOCK_UN)
        if time.monotonic() >= deadline:
            described = f" by {rival.describe()}" if rival else ""
            raise SweepBusy(f"{path.parent.name} is being advanced{described}: one at a time.")
        time.sleep(_POLL)


def _foreign(path: Path) -> Owner | None:
    """An owner on another machine that gave a sign of life a moment ago."""
    current = _read(path)
    if current is None or current.host == socket.gethostname():
        return None
    return current if time.time() - path.stat().st_mtime < _SILENCE else None


def _read(path: Path) -> Owner | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Owner(str(record["host"]), int(record["pid"]), float(record["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(stream: IO[str], current: Owner) -> None:
    stream.truncate(0)
    stream.write(json.dumps(asdict(current)))
    stream.flush()


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(_BEAT):
        path.touch()
