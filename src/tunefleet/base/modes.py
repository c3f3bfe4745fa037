"""Modes of the files and folders that this process makes: never for everybody to write."""

from __future__ import annotations

import os

_WORLD_WRITES = 0o002


def keep() -> None:
    """From now on nothing that is made here may be written by everybody, whatever the umask of the user is.

    A run directory that everybody may write is refused (`base/ownership.py`), and ours must not be. Processes that are
    started later inherit it.
    """
    os.umask(_current() | _WORLD_WRITES)


def _current() -> int:
    """The umask, which Linux tells only to who sets one."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
