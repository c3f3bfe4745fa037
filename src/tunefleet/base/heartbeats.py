"""Heartbeats of locks: one thread touches the records of all locks that this process has, and sees when one is lost."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tunefleet.base import owner
from tunefleet.base.errors import USER_ERROR

Check = Callable[[], bool]
_locks: dict[Path, Check] = {}
_started = threading.Event()


def begin(path: Path, is_ours: Check) -> None:
    """Touches `path` from now on; where `is_ours` says that another process has taken it, this one leaves at once."""
    _locks[path] = is_ours
    if not _started.is_set():
        _started.set()
        threading.Thread(target=_beat, name="locks", daemon=True).start()


def end(path: Path) -> None:
    """Touches it no more."""
    _locks.pop(path, None)


def _beat() -> None:
    pause = threading.Event()
    while not pause.wait(owner.BEAT):
        for path, is_ours in list(_locks.items()):
            with suppress(OSError):  # a disk that is full or away
                if path not in _locks:
                    continue
                if not is_ours():
                    _leave(path)
                os.utime(path)  # no time of ours: the disk's own clock counts


def _leave(path: Path) -> None:
    """This process was silent for so long that another has taken over: it must not write any more."""
    if path not in _locks:  # given back at this moment
        return
    text = f"tunefleet: {path}: another process has taken this over, as this one gave no sign of life. It ends here.\n"
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
    os._exit(USER_ERROR)
