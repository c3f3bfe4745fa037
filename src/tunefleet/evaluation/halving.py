"""Halving: what is too much for the memory is computed in smaller parts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from tunefleet.base.failures import cause_of
from tunefleet.base.status import Cause

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class PartSize:
    """How many items at most are computed at once; it shrinks. `setting` is the one that begins with a smaller one."""

    items: int
    setting: str

    def shrink(self, items: int) -> None:
        """Half of `items`, for this and for all that follows; says so on standard error."""
        self.items = items // 2
        print(
            f"tunefleet: out of memory with {items} at once: going on with {self.items} "
            f"({self.setting}={self.items} begins so)",
            file=sys.stderr,
        )


def in_parts(act: Callable[[Sequence[T]], R], items: Sequence[T], size: PartSize) -> Iterator[R]:
    """`act` of all items, in parts of at most `size`, which is halved where memory does not suffice.

    Raises what `act` raises, and where memory does not suffice for one item.
    """
    start = 0
    while start < len(items):
        part = items[start : start + size.items]
        result = _computed(act, part)
        if result is None:
            gc.collect()
            torch.cuda.empty_cache()
            size.shrink(len(part))
        else:
            yield result
            start += len(part)


def _computed(act: Callable[[Sequence[T]], R], part: Sequence[T]) -> R | None:
    """None where memory does not suffice: outside of it no frame of the failure holds tensors any more."""
    try:
        return act(part)
    except (RuntimeError, MemoryError) as error:
        if len(part) == 1 or cause_of(error) is not Cause.OUT_OF_MEMORY:
            raise
        return None
