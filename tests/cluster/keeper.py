"""How does all that a daemon started end with it, whatever ends the test?"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_SECONDS = 20  # a process that outlives SIGKILL hangs in the kernel; nobody can end it


def descendants(root: int) -> list[int]:
    """The processes below `root`."""
    parents = dict(_processes())
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {root})


def _processes() -> Iterator[tuple[int, int]]:
    """Every process and its parent."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            yield int(file.parent.name), int(file.read_text().rpartition(")")[2].split()[1])


def _keep(command: list[str]) -> None:
    """Run a daemon until it ends, or until our stdin closes: whoever holds its other end closed it, or died."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans below us stay below us
    daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while daemon.pid not in _ended() and not select.select([0], [], [], 0.2)[0]:
        pass
    _kill_descendants()


def _ended() -> list[int]:
    """Our children that ended since we last asked."""
    ended = []
    with contextlib.suppress(ChildProcessError):  # no child is left
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.append(pid)
    return ended


def _kill_descendants() -> None:
    deadline = time.monotonic() + _SECONDS
    while (below := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
        _ended()  # or they stay below us as zombies


if __name__ == "__main__":
    _keep(sys.argv[1:])
