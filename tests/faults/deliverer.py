"""A process that delivers exports in children of its own, which wait until they are told to begin.

`python -m tests.faults.deliverer` reads lines of JSON and prints the pid of a stopped child for each. `careless` is the
control: nothing is synced, and files are moved one by one.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

from tests.faults.strace import allow_any_tracer
from tests.faults.victims import serve
from tunefleet.base import delivery, swap

NAMES = {"old": ("config.json", "a.safetensors", "b.safetensors"), "new": ("config.json", "a.safetensors")}


def deliver(folder: Path, content: str) -> None:
    """An export whose files all hold `content`."""
    with delivery.staging(folder) as staged:
        for name in NAMES[content]:
            (staged / name).write_text(content)
        delivery.deliver(staged, folder, {"content": content})


def _victim(folder: Path, careless: bool) -> None:
    if careless:
        swap.can_replace = lambda target: False
    allow_any_tracer()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a stopped child must not outlive the test
    os.kill(os.getpid(), signal.SIGSTOP)
    deliver(folder, "new")


def main() -> None:
    """One child at a time, until the input ends."""
    serve(lambda order: _victim(Path(order["folder"]), order["careless"]))


if __name__ == "__main__":
    main()
