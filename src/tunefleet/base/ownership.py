"""Ownership of a directory: whether somebody else could put files into it, or links in the place of files."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

_UNMAPPED = 65534  # Linux calls so whom it does not know: root, on a network disk


def complaint(folder: Path) -> str:
    """Why `folder` is not this user's alone to write, and the next move; empty where it is, or is not there.

    A group may write, where the user lets it; everybody may not, but where nobody can rename the files of others, as in
    /tmp (the sticky bit).
    """
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    if not _is_mine(status.st_uid):
        return f"{folder} belongs to user {status.st_uid}, not to you. Copy it, or choose another name="
    return _of_everybody(folder, status.st_mode)


def complaint_of_shared(folder: Path) -> str:
    """The same for a folder in which several users may have something, such as `outputs` and the cache.

    It may belong to root, or to another user who lets a group write into it.
    """
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    is_of_group = status.st_mode & stat.S_IWGRP and status.st_gid in (os.getegid(), *os.getgroups())
    if not (_is_mine(status.st_uid) or status.st_uid == 0 or is_of_group):
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
