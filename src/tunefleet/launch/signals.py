"""What Ctrl-C and SIGTERM do while a launcher waits for its processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def caught(hear: Callable[[], None]) -> Iterator[None]:
    """Calls `hear` for each, instead of ending this process; as before afterwards."""
    old = {number: signal.signal(number, lambda *_: hear()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
