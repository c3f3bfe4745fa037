"""Signals that ask a run to stop, their causes in status.json, and how a launcher hears them while it waits."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tunefleet.base.status import Cause

CAUSES = {
    signal.SIGINT: Cause.INTERRUPT,
    signal.SIGTERM: Cause.TERMINATED,
    signal.SIGHUP: Cause.TERMINATED,  # the terminal is gone
    signal.SIGUSR1: Cause.TIME_LIMIT,  # schedulers send one of these two ahead of a limit
    signal.SIGUSR2: Cause.TIME_LIMIT,
}
BURST = 0.1  # seconds


def stop_signals() -> list[signal.Signals]:
    """Those that ask this process to stop: all but SIGHUP where it was started with nohup.

    A shell lets what it starts in the background ignore SIGINT as well, and who sends it all the same means it.
    """
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in CAUSES if not (number is signal.SIGHUP and ignores_hangup)]


@contextmanager
def caught(forward: Callable[[int], None]) -> Iterator[None]:
    """Calls `forward` with the number of each, instead of ending this process; as before afterwards.

    Several of one moment are one, but of Ctrl-C: where a parent with threads is killed, Linux tells its children of the
    end of every thread (PR_SET_PDEATHSIG), and a second request would mean to stop without saving.
    """
    last = -math.inf

    def handle(number: int, frame: object) -> None:
        nonlocal last
        moment = time.monotonic()
        if number != signal.SIGINT:
            last, earlier = moment, last
            if moment - earlier < BURST:
                return
        forward(number)

    old = {number: signal.signal(number, handle) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
