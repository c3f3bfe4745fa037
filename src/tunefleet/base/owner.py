"""Owner of a lock: which process it is, on which machine, and whether it lives."""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tunefleet.base import files, processes
from tunefleet.base.units import clock

BEAT = 10.0  # seconds between two heartbeats
SILENCE = 45.0  # seconds without one, after which an owner on another machine may be gone
WATCH = 15.0  # seconds in which it must not be heard of either, by this machine's clock
_LOOK = 0.5  # seconds between two looks at a heartbeat


@dataclass(frozen=True)
class Owner:
    """A process that has a lock; `role` is what it does, and `start` is common to all processes of one start.

    `born` and `machine` tell it from another process that is given its `pid` later, or has it elsewhere; `since` is in
    seconds since 1970, on its own clock, and `token` is of this record alone.
    """

    host: str
    pid: int
    since: float = 0.0
    born: int = 0
    machine: str = ""
    role: str = ""
    start: str = ""
    token: str = ""

    @staticmethod
    def current(role: str = "", start: str = "") -> Owner:
        """This process."""
        pid, token = os.getpid(), secrets.token_hex(8)
        return Owner(socket.gethostname(), pid, time.time(), processes.birth(pid), this_machine(), role, start, token)

    @property
    def is_here(self) -> bool:
        """Whether its pid means something here: the same start of the same machine, and the same container."""
        return self.machine == this_machine()

    def describe(self) -> str:
        """As it is shown."""
        role = f"{self.role}, " if self.role else ""
        if not self.pid:
            return f"{role}a process of {self.host}"
        stopped = ", stopped now" if self.is_here and processes.is_stopped(self.pid) else ""
        return f"{role}pid {self.pid} on {self.host}, since {clock(max(0.0, time.time() - self.since))}{stopped}"

    def content(self) -> bytes:
        """The record, as it is written."""
        return json.dumps(asdict(self)).encode()


@functools.cache
def this_machine() -> str:
    """Names this start of this machine, and the processes that can see each other: containers may share the rest."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        parts = [boot, os.readlink("/proc/self/ns/pid")]
    return "/".join(parts)


def parsed(content: bytes) -> Owner | None:
    """The owner in a record; None where it holds none."""
    try:
        record: dict[str, Any] = json.loads(content)
        values = {field.name: record[field.name] for field in fields(Owner) if field.name in record}
        owner = Owner(**values)
        return Owner(**{**values, "pid": int(owner.pid), "born": int(owner.born), "since": float(owner.since)})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def lives(path: Path, owner: Owner, watch: float | None = None) -> bool:
    """Whether the `owner` that has its record at `path` lives.

    Here its process is looked for, also where it is stopped. Elsewhere its heartbeat is: the time of its record, by the
    clock of the disk on which that is. One that is old, or of the future, is watched for `watch` seconds (None: WATCH).
    """
    if owner.is_here:
        return processes.is_alive(owner.pid, owner.born)
    heartbeat = modified(path)
    if heartbeat is None:
        return False
    if -1 <= disk_time(path.parent) - heartbeat < SILENCE:  # a record may be a moment younger than the probe
        return True
    deadline = time.monotonic() + (WATCH if watch is None else watch)
    while time.monotonic() < deadline:
        time.sleep(_LOOK)
        if modified(path) != heartbeat:
            return True
    return False


def modified(path: Path) -> float | None:
    """When `path` was touched last, by the clock of its disk; None where it is gone.

    It is opened for that: a network disk may remember for a minute what it knew of a file that is only looked at.
    """
    try:
        with open(path, "rb", opener=files.plain) as stream:
            return os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None


def disk_time(folder: Path) -> float:
    """What the clock of the disk of `folder` shows. Raises `OSError` where nothing can be written."""
    probe = folder / f".clock.{secrets.token_hex(8)}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, b"\n")
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)
