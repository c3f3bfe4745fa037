"""Processes of this machine, as Linux shows them: whether one is still the same, what it does, who belongs together."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_STOPPED, _ENDED = ("T", "t"), ("Z", "X")
_SESSION, _BIRTH = 3, 19  # of the fields from the state on (man 5 proc)
_POLL = 0.05  # seconds


def birth(pid: int) -> int:
    """When the process began, in ticks since the start of the machine: with its number, its name; 0 if unknown."""
    fields = _stat(pid)
    return int(fields[_BIRTH]) if len(fields) > _BIRTH else 0


def state(pid: int) -> str:
    """One letter: R runs, S sleeps, D waits for a disk, T is stopped, Z is dead; empty if it is not there."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def is_alive(pid: int, born: int = 0) -> bool:
    """Whether the process `pid` is there that began at `born`, or any of that number where `born` is 0."""
    if pid <= 0:  # would mean a group of processes
        return False
    if len(fields := _stat(pid)) > _BIRTH:
        return fields[0] not in _ENDED and born in (0, int(fields[_BIRTH]))
    try:
        os.kill(pid, 0)  # /proc may be missing, or hide the processes of others
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def born_at(pid: int) -> float | None:
    """When the process began, in seconds since 1970; None where it is not there, or dead."""
    born = birth(pid)
    boot = next((line.split()[1] for line in _text("/proc/stat").splitlines() if line.startswith("btime ")), None)
    if not born or boot is None or state(pid) in _ENDED:
        return None
    return int(boot) + born / os.sysconf("SC_CLK_TCK")


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped it."""
    return state(pid) in _STOPPED


def bytes_moved() -> int:
    """Bytes that this process has read and written in all, from disks, pages of mapped files, pipes and networks."""
    lines = _text("/proc/self/io").splitlines()
    return sum(int(line.split(":")[1]) for line in lines if line.startswith(("rchar", "wchar", "read_bytes")))


def described(pid: int) -> str:
    """What Linux shows of a process that cannot be asked itself: its state, and where in the kernel it waits."""
    lines = []
    for name in ("status", "wchan", "syscall", "stack"):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text(errors="replace").strip()
        except OSError as error:
            text = f"({error.strerror})"
        lines_shown = [
            line for line in text.splitlines() if name != "status" or line.startswith(("Name", "State", "Threads"))
        ]
        lines.append(f"{name}: {'; '.join(lines_shown)}")
    return "\n".join([f"process {pid}", *lines, *_threads(pid)]) + "\n"


def _threads(pid: int) -> list[str]:
    """Where each of its threads waits."""
    try:
        tasks = sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        return []
    return [f"thread {task}: {_text(f'/proc/{pid}/task/{task}/wchan')}" for task in tasks]


def end_sessions(leaders: Collection[int], grace: float) -> None:
    """Returns when no process is left in the sessions that `leaders` began; after `grace` seconds they are killed."""
    deadline = time.monotonic() + grace
    while members := list(_members(leaders)):
        if time.monotonic() > deadline:
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL)


def _members(leaders: Collection[int]) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields and fields[0] not in _ENDED and int(fields[_SESSION]) in leaders:
            yield int(folder.name)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; a name in brackets goes before them."""
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
