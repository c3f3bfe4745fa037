"""Progress of what takes a while: one line that is redrawn in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tunefleet.base import pulse, stdio
from tunefleet.base.text import in_one_line
from tunefleet.base.units import clock

T = TypeVar("T")
FIRST = 1.0  # seconds in which nothing is printed: what is over by then needs no line
REDRAWN = 0.5  # seconds between two states of a line in a terminal
REPEATED = 10.0  # seconds between two plain lines


def over(items: Sequence[T], act: str) -> Iterator[T]:
    """The items, while rank 0 prints on stderr how many are done, how many a second, and the time left."""
    line = _Line()
    for done, item in enumerate(items):
        pulse.tick()
        if done:
            line.show(_state(act, done, len(items), line.seconds))
        yield item
    line.end(f"{act}: {len(items)} in {clock(line.seconds)}")


@contextmanager
def during(act: str, state: Callable[[float], str] | None = None, every_rank: bool = False) -> Iterator[None]:
    """While it lasts, rank 0 prints on stderr for how long it has; acts that know how far they are give a `state`.

    `state` is given the seconds that have passed, and asked by another thread. With `every_rank` the calling process
    prints, whichever it is: where one of them works and the others wait for it.
    """
    line, over = _Line(every_rank), threading.Event()

    def watch() -> None:
        while not over.wait(REDRAWN):
            line.show(f"{act}: {state(line.seconds) if state else clock(line.seconds)}")

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        line.end(f"{act}: {clock(line.seconds)}")


def _state(act: str, done: int, total: int, seconds: float) -> str:
    remaining = clock(seconds / done * (total - done))
    return f"{act}: {done}/{total} ({done / total:.0%}), {done / max(seconds, 1e-9):.1f}/s, {remaining} left"


class _Line:
    """A line that is shown from its first second on, redrawn or repeated, and ended once where it was shown."""

    def __init__(self, every_rank: bool = False) -> None:
        self._began = time.monotonic()
        # a live bar of rich owns the terminal while it is there, and takes whole lines
        self._redraws = sys.stderr.isatty() and not hasattr(sys.stderr, "rich_proxied_file")
        self._silent = not every_rank and os.environ.get("RANK", "0") != "0"
        self._next = FIRST
        self._shown = False

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def show(self, state: str) -> None:
        """Where it is time for the next one."""
        if self._silent or self.seconds < self._next:
            return
        self._next = self.seconds + (REDRAWN if self._redraws else REPEATED)
        self._shown = True
        self._write(state, "" if self._redraws else "\n")

    def end(self, state: str) -> None:
        """The last state, where one was shown."""
        if self._shown:
            self._write(state, "\n")

    def _write(self, state: str, end: str) -> None:
        start = "\r\x1b[2K" if self._redraws else "  "
        stdio.styled(sys.stderr).write(f"{start}{in_one_line(state)}{end}")
        sys.stderr.flush()
