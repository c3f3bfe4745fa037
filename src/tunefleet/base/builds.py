"""Compiled extensions: waits for a build of another machine, and names the lock that a killed build leaves."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tunefleet.base.errors import RunError

_SECONDS = 600  # no build of DeepSpeed takes longer on an idle core
_LOCK = "lock"  # torch.utils.cpp_extension calls it so


def await_build(folder: Path, seconds: float = _SECONDS) -> None:
    """Waits while another machine builds in `folder`. Raises `RunError` where a killed build has left its lock there.

    torch waits for that file to go, for ever and without a word. A lock that no process of this machine has open may
    be that of another machine, on a shared file system: until it is older than `seconds`.
    """
    lock = folder / _LOCK
    while lock.exists() and not _is_open(lock):
        if _age(lock) > seconds:
            raise RunError(
                f"{lock}: left by a build that was killed; every later one would wait for it. Remove it: rm {lock}"
            )
        print(f"waiting for {lock}: another machine builds there, or a build was killed", flush=True)
        time.sleep(5)


def _is_open(lock: Path) -> bool:
    """Whether a process of this machine has `lock` open, as a build does."""
    target = str(lock.resolve())
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == target:
                return True
        except OSError:
            continue  # the process has ended, or is another user's
    return False


def _age(lock: Path) -> float:
    """Seconds since the lock was made; 0 where it is gone."""
    try:
        return time.time() - lock.stat().st_mtime
    except FileNotFoundError:
        return 0.0
