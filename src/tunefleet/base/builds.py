"""Compiled extensions: whether the lock of a build is a living one's, and its removal where its builder is dead.

torch marks a build by a file `lock`, waits for it to go, for ever and without a word, and leaves it where it is killed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tunefleet.base import files, owner, owner_lock

PATIENCE = 600.0  # seconds; no build of DeepSpeed takes longer on an idle core
_LOCK, _OWNER, _MARK = "lock", "tunefleet.lock", "tunefleet.build"  # torch.utils.cpp_extension names the first
_LOOK = 0.5  # seconds
_OF_THIS_MACHINE = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs")
_OF_THIS_CONTAINER = ("overlay", "tmpfs", "ramfs")
_FIRST_PROCESSES = "pid:[4026531836]"  # the namespace of a machine's own processes, as Linux numbers it


def put_ninja_on_path() -> None:
    """ninja, which builds, is installed beside this Python, which need not be on the PATH."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}"


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """This process may build in `folder` meanwhile: no other of tunefleet's does, and no dead build's lock is there."""
    with owner_lock.hold(
        folder / _OWNER, wait=float("inf"), notify=lambda process: _print_waiting(folder, process.describe())
    ):
        _clear(folder)
        yield


def mark(folder: Path) -> None:
    """Records that the lock which is there now is of the process whose turn it is: nobody else's, when that is dead."""
    files.write_text(folder / _MARK, str((folder / _LOCK).stat().st_ino))


def _clear(folder: Path) -> None:
    """Removes the lock of a dead build; waits for that of a living one, and where it is not known, until it is old."""
    lock, is_said = folder / _LOCK, False
    while (number := _inode(lock)) is not None:
        is_dead = _mark(folder) == number or _is_private(lock) or _age(lock) > PATIENCE
        if is_dead and not _is_busy(folder):
            if _inode(lock) == number:
                lock.unlink(missing_ok=True)
                print(f"{lock}: removed; the build that it was of is dead", flush=True)
        else:
            if not is_said:
                _print_waiting(folder, "a process, maybe of another machine")
            is_said = True
            time.sleep(_LOOK)


def _print_waiting(folder: Path, builder: str) -> None:
    print(f"waiting for {folder / _LOCK}: {builder} builds there. Remove it if you know that none does.", flush=True)


def _is_private(lock: Path) -> bool:
    """Whether only processes that can be looked at here can have made the lock: this user's, on a disk of its own."""
    try:
        if lock.stat().st_uid != os.getuid():
            return False
        kind = _disk(lock)
        sees_all = os.readlink("/proc/self/ns/pid") == _FIRST_PROCESSES
    except OSError:
        return False
    return kind in _OF_THIS_CONTAINER or (sees_all and kind in _OF_THIS_MACHINE)


def _disk(path: Path) -> str:
    """The kind of file system that `path` is on; empty where it is not known (man 5 proc, mountinfo)."""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    lines = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return next((fields[fields.index("-") + 1] for fields in lines if fields[2] == number), "")


def _is_busy(folder: Path) -> bool:
    """Whether a process here has the lock open, as a build does, or is ninja at work there, which may outlive it."""
    lock = str((folder / _LOCK).resolve())
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if any(os.readlink(link) == lock for link in (process / "fd").iterdir()):
                return True
            is_there = os.readlink(process / "cwd") == str(folder.resolve())
            if is_there and files.read_text(process / "comm").strip() == "ninja":
                return True
    return False


def _mark(folder: Path) -> int | None:
    try:
        return int(files.read_text(folder / _MARK))
    except (OSError, ValueError):
        return None


def _inode(lock: Path) -> int | None:
    try:
        return lock.stat().st_ino
    except OSError:
        return None


def _age(lock: Path) -> float:
    """Seconds since the lock was made, by the clock of its disk; 0 where it is gone."""
    created = owner.modified(lock)
    return 0.0 if created is None else owner.disk_time(lock.parent) - created
