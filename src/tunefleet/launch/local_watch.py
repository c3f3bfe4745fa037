"""Watch of the launcher here: ends ranks that hang, and sees what no rank can: that all of them are stopped."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from tunefleet.base.paths import RunPaths
from tunefleet.config.launch import LaunchConfig
from tunefleet.launch import hang_record
from tunefleet.launch.hang_watch import HangWatch, Limits
from tunefleet.launch.stall_status import Stall

HURRY = 60.0  # seconds without progress, after a request to stop, until ranks are ended


class LocalWatch:
    """Of the ranks of one start."""

    def __init__(self, paths: RunPaths, ranks: int, launch: LaunchConfig) -> None:
        limits = Limits.from_settings(launch)
        self._paths = paths
        self._interval = limits.interval(one_machine=True)
        self._watch = HangWatch(paths, range(ranks), limits, self._interval)
        self._stall = Stall(paths)
        self._looked = time.monotonic()
        self._hangs: float | None = None

    def hurry(self) -> None:
        """The user waits for the end of the run."""
        self._watch.hurry(HURRY)

    def look(self) -> int | None:
        """The rank that is to blame, where the run hangs; None while it does not. Called often, it looks seldom."""
        if self._hangs is None and time.monotonic() - self._looked >= self._interval:
            self._looked = time.monotonic()
            with suppress(OSError):
                self._look()
        blamed = hang_record.blamed(self._paths)
        if blamed and self._hangs is None:
            self._hangs = time.monotonic()
        return blamed[0] if blamed else None

    @property
    def patience_is_over(self) -> bool:
        """Whether ranks that hang have had the time to leave their stacks and to go."""
        return self._hangs is not None and time.monotonic() - self._hangs > 4 * self._interval + 3

    def _look(self) -> None:
        view = self._watch.look()
        if 0 in view.silent or self._stall.is_shown:  # else rank 0 says it
            self._stall.show(view)
        if view.hangs:
            hang_record.declare(self._paths, view, socket.gethostname())
