"""Swap of folders: a new one takes the place of an old one at once, and the old one goes afterwards."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tunefleet.base import files

_AT_FDCWD, _EXCHANGE = -100, 2  # RENAME_EXCHANGE of Linux's renameat2


def name_beside(target: Path) -> Path:
    """A new hidden name beside `target`, which no process on any machine that shares the disk has at the same time."""
    return files.temporary_beside(target.with_name(f".{target.name}"))


def is_leftover(name: str, target: Path) -> bool:
    """Whether `name` is one that `name_beside` or `replace` makes for `target`, or that an earlier version made."""
    return bool(re.fullmatch(rf"\.{re.escape(target.name)}\.[^/]+-\d+(-[0-9a-f]{{8}})?\.(tmp|old)", name))


def can_replace(target: Path) -> bool:
    """Whether a folder beside `target` can take its place: `target` is no mount, and no process stands in it."""
    parent = next(path for path in target.parents if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        return False
    if not target.exists():
        return True
    return not Path.cwd().is_relative_to(target) and target.stat().st_dev == target.parent.stat().st_dev


def recover(target: Path) -> None:
    """Takes back what killed processes left, while this one has the lock of `target`: an old folder between two renames
    returns to its name, a new one that was not finished goes.
    """
    for folder in (target.parent, target):
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            if not is_leftover(path.name, target):
                continue
            if path.suffix == ".old" and not target.exists():
                files.publish(path, target)
            else:
                shutil.rmtree(path, ignore_errors=True)


def link_others(old: Path, new: Path, without: Iterable[str]) -> None:
    """Gives the files below `old` that are not among `without`, and not in `new`, their names in `new` too."""
    left_out = {str(new / name) for name in without}
    for folder, names, file_names in os.walk(old):
        counterpart = new / Path(folder).relative_to(old)
        names[:] = [name for name in names if not is_leftover(name, old)]
        for name in [*file_names, *(name for name in names if (Path(folder) / name).is_symlink())]:
            if str(counterpart / name) not in left_out and not os.path.lexists(counterpart / name):
                counterpart.mkdir(parents=True, exist_ok=True)
                _link(Path(folder) / name, counterpart / name)
        if not names and not file_names:
            counterpart.mkdir(parents=True, exist_ok=True)
    shutil.copymode(old, new)


def sync(folder: Path) -> None:
    """Every file below `folder`, and every folder, is on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if not (Path(parent) / name).is_symlink():
                files.sync_folder(Path(parent) / name)
    sync_folders(folder)


def sync_folders(folder: Path) -> None:
    """Every folder from the deepest to `folder` is on the disk."""
    for parent, _, _ in os.walk(folder, topdown=False):
        files.sync_folder(Path(parent))


def replace(new: Path, target: Path) -> None:
    """The folder `new` is `target` from now on, durably; what was there before goes. At no moment there is neither,
    where the file system can exchange names; elsewhere `recover` finds the old one.
    """
    if not target.exists():
        files.publish(new, target)
        return
    old = new
    if not _exchange(new, target):
        old = new.with_suffix(".old")
        files.publish(target, old)
        os.replace(new, target)
    files.sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # not Linux
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _EXCHANGE) == 0)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(source, target, follow_symlinks=False)
