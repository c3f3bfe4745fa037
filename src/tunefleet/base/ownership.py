"""Ownership of a directory: whether somebody else could put files into it, or links in the place of files."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def complaint(folder: Path) -> str:
    """Why `folder` is not this user's alone to write, and the next move; empty where it is, or is not there.

    A group may write, where the user lets it; everybody may not, but where nobody can rename the files of others, as in
    /tmp (the sticky bit).
    """
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to user {status.st_uid}, not to you. Copy it, or choose another name="
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return f"{folder} may be written by everybody. chmod o-w {folder}"
    return ""
