"""Exhaustion: limits on the time and memory of what a user's template or pattern does with a text."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

MEMORY = 4 << 30
"""Bytes that may be taken beside those which the process has."""
_LOOK = 0.5  # seconds from one look at the time to the next


class Exhausted(Exception):
    """It has taken the time that it may."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Within it, this thread computes for at most so many seconds, and memory is refused beyond `MEMORY` more bytes.

    Raises `Exhausted` or `MemoryError`. A signal ends what runs too long, so the time is limited in the main thread
    alone; time in which the process is stopped, or waits for a core, does not count.
    """
    with memory(), _time(seconds):
        yield


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    began, start = time.thread_time(), time.monotonic()

    def look(number: int, frame: FrameType | None) -> None:
        if time.thread_time() - began > seconds:
            raise Exhausted

    handler = signal.signal(signal.SIGALRM, look)
    delay, interval = signal.setitimer(signal.ITIMER_REAL, _LOOK, _LOOK)
    try:
        yield
    finally:
        remaining = max(delay - (time.monotonic() - start), 0.001) if delay else 0.0  # of whoever had set it before
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, handler)


@contextmanager
def memory() -> Iterator[None]:
    """Within it, memory is refused beyond `MEMORY` more bytes than the process has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data() + MEMORY
    if limit <= MEMORY or (soft != resource.RLIM_INFINITY and soft <= limit):
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data() -> int:
    """Bytes that the process has asked for; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
