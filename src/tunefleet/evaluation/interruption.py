"""Interruption of an evaluation: it is left before its next batch, on all ranks alike, and made again another time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tunefleet.base import progress

T = TypeVar("T")
Check = Callable[[], None]
"""Raises `CutShort` on all ranks, or on none. Collective."""


class CutShort(Exception):  # no error
    """An evaluation that the run did not wait for."""


def batches(items: Sequence[T], act: str, check: Check | None, common: int) -> Iterator[T]:
    """The items, with their progress and a `check` before each of the first `common`, which all ranks have."""
    for number, item in enumerate(progress.over(items, act)):
        if check and number < common:
            check()
        yield item
