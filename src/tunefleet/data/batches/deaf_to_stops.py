"""Helpers of a rank are deaf to what asks a run to stop: training has a step to finish and to save, and ends them."""

from __future__ import annotations

import signal

FORK_SERVER = "tunefleet.data.batches.deaf_fork_server"
"""A module whose import makes the process deaf: a fork server imports what it is told before its first fork."""


def ignore() -> None:
    """Ignores, in this process and those that it starts, every signal that asks a run to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
