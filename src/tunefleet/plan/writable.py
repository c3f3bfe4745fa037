"""Writable run directory: tried before any work is done for it."""

from __future__ import annotations

import os
from pathlib import Path

from tunefleet.base import disk as disk_space
from tunefleet.base.errors import ConfigError
from tunefleet.plan.plan import Plan

_MOVE = "Choose another output_dir=."
_ENOUGH = 1 << 20  # bytes without which not even a plan and a status can be written


def expect_writable(plan: Plan) -> None:
    """Raises `ConfigError` where the run directory cannot be made or written, or its disk is full."""
    complaint = obstacle(Path(plan.run_dir))
    if complaint:
        raise ConfigError(f"output_dir: {complaint}. {_MOVE}")


def obstacle(folder: Path) -> str:
    """Why `folder` cannot be made or written; empty where it can."""
    try:
        existing = next(path for path in (folder, *folder.parents) if _is_there(path))
        return _obstacle(existing)
    except OSError as error:
        return f"{folder}: {error.strerror}"


def _is_there(path: Path) -> bool:
    """Also a link to nothing. Raises `OSError` for what cannot be a path."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _obstacle(folder: Path) -> str:
    """The same for the nearest folder above it that is there."""
    if folder.is_symlink() and not folder.exists():
        return f"{folder} is a link to {os.readlink(folder)}, which is not there"
    if not folder.is_dir():
        return f"{folder} is a file"
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        return f"{folder} is on a disk that is read-only" if read_only else f"{folder} may not be written by you"
    disk = os.statvfs(folder)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < _ENOUGH:
        return f"the disk of {folder} is full{disk_space.amounts(folder / 'plan.json', _ENOUGH)}"
    if disk.f_files and not disk.f_favail:
        return f"the disk of {folder} takes no more files"
    return ""
