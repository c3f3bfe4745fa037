"""Signals of a rank: the first asks it to save and leave; at the second, or where there is nothing to save, it leaves.

A thread reads them as they come: Python's handlers have to wait where the main thread is in a collective. Until
training has handlers of its own, they do the same, whichever comes first.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from tunefleet.launch.signals import stop_signals

ECHO = 1.5  # seconds: a launcher passes on what the terminal, or SLURM, has sent to its ranks as well
Leave = Callable[[int, str], None]


class RankSignals:
    """Of one process. `leave` ends it, given the signal's number and why there was nothing to save."""

    def __init__(self, leave: Leave) -> None:
        self._leave = leave
        self._firsts: dict[int, float] = {}
        self._lock = threading.RLock()  # a handler may come while its own thread holds it
        self._holds = False
        self._reason = "before the first step"

    def listen(self) -> None:
        """From now on, in the main thread; what others install as handlers later changes nothing."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in stop_signals():
            signal.signal(number, lambda number, frame: self._arrived(number))
        threading.Thread(target=self._read, args=(reading,), name="signals", daemon=True).start()

    def hold(self) -> None:
        """From now on the first signal is only noted: training listens for it."""
        with self._lock:
            self._holds = True

    def release(self, reason: str) -> None:
        """All is saved: from now on any signal ends the process at once, also one that was noted before."""
        with self._lock:
            self._holds, self._reason = False, reason
            if self._firsts:
                self._leave(next(iter(self._firsts)), reason)

    def _read(self, reading: int) -> None:
        while numbers := os.read(reading, 64):
            for number in numbers:
                if number in stop_signals():
                    self._arrived(number)

    def _arrived(self, number: int) -> None:
        """Only one thread leaves, and what it writes is written."""
        moment = time.monotonic()
        with self._lock:
            first = self._firsts.setdefault(number, moment)
            if not self._holds:
                self._leave(number, self._reason)
            elif moment - first > ECHO:
                self._leave(number, "asked twice")


_process: list[RankSignals] = []


def listen(leave: Leave) -> None:
    """Listens in this process."""
    _process[:] = [RankSignals(leave)]
    _process[0].listen()


def hold() -> None:
    """Where this process listens: see `RankSignals.hold`."""
    for listener in _process:
        listener.hold()


def release(reason: str) -> None:
    """Where this process listens: see `RankSignals.release`."""
    for listener in _process:
        listener.release(reason)
