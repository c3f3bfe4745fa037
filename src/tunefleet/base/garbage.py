"""Garbage: a command of a second looks for it rarely, and not at its end, because what it imports lives as long."""

from __future__ import annotations

import atexit
import gc
from functools import cache

_OBJECTS = 50_000
"""Made and not yet freed, before a search: Python's own 700 are a hundred searches for one configuration."""
_USUAL = gc.get_threshold()


@cache
def search_rarely() -> None:
    """From now on in this process; `search_as_usual` takes it back."""
    gc.set_threshold(_OBJECTS, *_USUAL[1:])
    atexit.register(gc.freeze)  # the interpreter's last search would go through every module


def search_as_usual() -> None:
    """Where models are computed with: a cycle may hold tensors, which are large and few."""
    gc.set_threshold(*_USUAL)
