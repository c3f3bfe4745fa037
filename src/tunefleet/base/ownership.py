"""Ownership of a directory: whether somebody else could put files into it, or links in the place of files."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

_READ = ("checkpoints", "logs", "export", "tokenizer")
_UNMAPPED = 65534  # Linux calls so whom it does not know: root, on a network disk


def complaint(folder: Path) -> str:
    """Why `folder`, or a file in it, is not this user's alone to write, and the next move; empty where it is, or is not
    there.

    A group may write, where the user lets it; everybody may not, but where nobody can rename the files of others, as in
    /tmp (the sticky bit).
    """
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    if not _is_mine(status.st_uid):
        return f"{folder} belongs to user {status.st_uid}, not to you. Copy it, or choose another name="
    return _of_everybody(folder, status.st_mode) or _of_files(folder)


def complaint_to_use(folder: Path) -> str:
    """The same for a run that is not written by this process's own start: a group that shares it may use it.

    To export, evaluate, report or cancel the run of a colleague who has set `launch.access=group`.
    """
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    if not _is_shared_with_us(status):
        return complaint(folder)
    return _of_everybody(folder, status.st_mode) or _of_files(folder)


def _is_shared_with_us(status: os.stat_result) -> bool:
    return bool(status.st_mode & stat.S_IWGRP) and status.st_gid in (os.getegid(), *os.getgroups())


def _of_files(folder: Path) -> str:
    return next(filter(None, map(complaint_of_file, _state(folder))), "")


def complaint_of_file(path: Path) -> str:
    """Why the file `path` of a run may hold what somebody else wrote, and the next move; empty where it does not.

    Its owner is this user, root, or whose directory it is; where that is shared with a group, anyone of the group.
    """
    try:
        status, folder = os.lstat(path), os.stat(path.parent)
    except OSError:
        return ""
    if opened := _of_everybody(path.parent, folder.st_mode):
        return opened
    if status.st_mode & stat.S_IWOTH and not stat.S_ISLNK(status.st_mode) and _keeps_modes(path.parent):
        return f"{path} may be written by everybody. chmod -R o-w {path.parent}"
    is_of_group = folder.st_mode & stat.S_IWGRP and status.st_gid == folder.st_gid
    if not (_is_mine(status.st_uid) or status.st_uid in (0, folder.st_uid) or is_of_group):
        return f"{path} belongs to user {status.st_uid}, not to you. Move it away, or copy the run"
    return ""


def _state(folder: Path) -> list[Path]:
    """What a run is read from: the files of its directory, and of those of its checkpoints and logs."""
    with suppress(OSError):
        return [
            path for part in (folder, *(folder / name for name in _READ)) if part.is_dir() for path in part.iterdir()
        ]
    return []


def complaint_of_shared(folder: Path) -> str:
    """The same for a folder in which several users may have something, such as `outputs` and the cache.

    It may belong to root, or to another user who lets a group write into it.
    """
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    if not (_is_mine(status.st_uid) or status.st_uid == 0 or _is_shared_with_us(status)):
        return f"{folder} belongs to user {status.st_uid}, who could replace what is in it. Choose a folder of your own"
    return _of_everybody(folder, status.st_mode)


def _is_mine(user: int) -> bool:
    return user == os.geteuid() or (user == _UNMAPPED and os.geteuid() == 0)


def _of_everybody(folder: Path, mode: int) -> str:
    is_open = mode & stat.S_IWOTH and not mode & stat.S_ISVTX
    return f"{folder} may be written by everybody. chmod o-w {folder}" if is_open and _keeps_modes(folder) else ""


def _keeps_modes(folder: Path) -> bool:
    """Whether the disk of `folder` has modes at all: one of Windows shows the same for everything."""
    probe = folder / f".modes.{secrets.token_hex(8)}"
    try:
        probe.mkdir(mode=0o700)
    except OSError:
        return True
    try:
        return not probe.stat().st_mode & stat.S_IWOTH
    finally:
        probe.rmdir()
