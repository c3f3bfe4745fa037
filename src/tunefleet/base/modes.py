"""Modes of the files and folders that this process makes: never for everybody to write.

Two things decide them: the umask, which processes that are started later inherit, and the setgid bit of a folder, which
folders that are made below it inherit.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

UMASK, PRIVATE, GROUP = "umask", "private", "group"
_WORLD_WRITES, _OF_GROUP, _OF_OTHERS, _GROUP_WRITES = 0o002, 0o070, 0o077, 0o060
_access = UMASK


def keep(access: str = UMASK) -> None:
    """From now on what is made here has the modes of `access`, `launch.access`: of the user's umask, 0600, or 0660.

    Nothing may be written by everybody, whatever the umask: a run directory that everybody may write is refused
    (`base/ownership.py`), and ours must not be.
    """
    global _access
    _access = access
    umask = _current() | _WORLD_WRITES
    os.umask({PRIVATE: umask | _OF_OTHERS, GROUP: umask & ~_OF_GROUP}.get(access, umask))


def shell(access: str) -> list[str]:
    """The same for the shell of a job."""
    return {PRIVATE: ["umask go="], GROUP: ["umask g=rwx,o-w"]}.get(access, [])


def make(folder: Path) -> None:
    """Makes a folder and those above it that are missing; where a group shares them, what is made below is its, too."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()] if _access == GROUP else []
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        with suppress(OSError):  # of a disk that knows no groups
            path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_ISGID)


def fit(descriptor: int) -> None:
    """A file of an older umask, or a copy, that is written to gets the mode of `keep`, where one was asked for."""
    old = stat.S_IMODE(os.fstat(descriptor).st_mode)
    new = {PRIVATE: old & ~_OF_OTHERS, GROUP: (old | _GROUP_WRITES) & ~_WORLD_WRITES}.get(_access, old)
    if new != old:
        with suppress(OSError):  # of somebody else's file
            os.fchmod(descriptor, new)


def note(folder: Path, access: str) -> str:
    """That a run directory was made with other modes than `access` has, and the next move; empty where it was not."""
    mode = stat.S_IMODE(folder.stat().st_mode) if folder.exists() else None
    is_as_set = mode is None or {PRIVATE: not mode & _OF_OTHERS, GROUP: mode & _OF_GROUP == _OF_GROUP}.get(access, True)
    change = "go=" if access == PRIVATE else "g+rwX"
    return "" if is_as_set else f"{folder} keeps its mode {mode:o}; launch.access={access}: chmod -R {change} {folder}"


def _current() -> int:
    """The umask, which Linux tells only to who sets one."""
    umask = os.umask(_OF_OTHERS)
    os.umask(umask)
    return umask
