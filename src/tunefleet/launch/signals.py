"""Signals: Ctrl-C and SIGTERM while a launcher waits for its processes, and their causes in status.json."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tunefleet.base.status import Cause

CAUSES = {signal.SIGINT: Cause.INTERRUPT, signal.SIGTERM: Cause.TERMINATED}
BURST = 0.1  # seconds


@contextmanager
def caught(forward: Callable[[int], None]) -> Iterator[None]:
    """Calls `forward` with the number of each, instead of ending this process; as before afterwards.

    SIGTERMs of one moment are one: where a parent with threads is killed, Linux tells its children of the end of every
    thread (PR_SET_PDEATHSIG), and a second request would mean to stop without saving.
    """
    last = -math.inf

    def handle(number: int, frame: object) -> None:
        nonlocal last
        moment = time.monotonic()
        if number == signal.SIGTERM:
            last, earlier = moment, last
            if moment - earlier < BURST:
                return
        forward(number)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
