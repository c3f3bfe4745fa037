"""Can the run's directory be written, before any work is done for it?"""

from __future__ import annotations

import os
from pathlib import Path

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
        there = next(path for path in (folder, *folder.parents) if _is_there(path))
        return _obstacle(there)
    except OSError as error:
        return f"{folder}: {error.strerror}"


def _is_there(path: Path) -> bool:
    """Also a link to nothing. Raises `OSError` for what cannot be a path."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _obstacle(there: Path) -> str:
    """The same for the nearest folder above it that is there."""
    if there.is_symlink() and not there.exists():
        return f"{there} is a link to {os.readlink(there)}, which is not there"
    if not there.is_dir():
        return f"{there} is a file"
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        return f"{there} lies on a disk that is read-only" if read_only else f"{there} may not be written by you"
    disk = os.statvfs(there)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < _ENOUGH:
        return f"the disk of {there} is full"
    if disk.f_files and not disk.f_favail:
        return f"the disk of {there} takes no more files"
    return ""
