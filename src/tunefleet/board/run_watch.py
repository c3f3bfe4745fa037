"""Run watch: refreshes the list of runs from a thread of its own, as long as somebody looks at it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping

from tunefleet.board.run_list import RunList, RunRow

INTERVAL = 2.0  # seconds between two refreshes, at least
_SHARE = 5.0  # times what a refresh takes: a slow disk is not asked all the time
_ATTENTION = 30.0  # seconds after the last question in which somebody looks
_FIRST = 1.0  # seconds that the first question waits


class RunWatch:
    """Rows that are at most a few seconds old, and cost a question nothing."""

    def __init__(self, runs: RunList) -> None:
        self.runs = runs
        self._last_question = 0.0
        self._wake, self._has_rows = threading.Event(), threading.Event()
        threading.Thread(target=self._watch, name="run watch", daemon=True).start()

    def rows(self) -> Mapping[str, RunRow]:
        """By name; the first question waits a moment for them."""
        is_new = time.monotonic() - self._last_question > _ATTENTION
        self._last_question = time.monotonic()
        if is_new:
            self._wake.set()
        self._has_rows.wait(_FIRST)
        return self.runs.rows

    def look_soon(self) -> None:
        """Something was done that changes a run."""
        self._wake.set()

    def _watch(self) -> None:
        pause: float | None = None  # until somebody looks
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            started = time.monotonic()
            try:
                self.runs.refresh()
            except Exception as error:  # the next refresh may do better; without this thread there would be none
                print(f"tunefleet: the list of runs was not refreshed: {error!r}", file=sys.stderr)
            self._has_rows.set()
            ended = time.monotonic()
            pause = max(INTERVAL, _SHARE * (ended - started)) if ended - self._last_question < _ATTENTION else None
