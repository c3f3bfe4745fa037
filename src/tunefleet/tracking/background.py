"""Background tracker: a tracker in a thread of its own, whose faults and waits cost the run nothing."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunefleet.base import secrets
from tunefleet.contracts import Tracker

SECONDS_TO_FINISH = 8.0
"""What a run waits for at its end, whatever a server and a disk do."""
_LONGEST_QUEUE = 100_000  # records that a tracker may be behind

Act = Callable[[Tracker], None]


class BackgroundTracker:
    """Passes what it gets to the tracker that `open_tracker` makes in a thread of its own, where it is used too.

    Whatever goes wrong there, the run and its other trackers go on: the reason is said once, on `logger`, and what
    comes later is dropped. The end waits `finish_seconds` at most.
    """

    def __init__(
        self,
        name: str,
        open_tracker: Callable[[], Tracker],
        finish_seconds: float = SECONDS_TO_FINISH,
        logger: logging.Logger | None = None,
    ) -> None:
        self._name = name
        self._open = open_tracker
        self._finish_seconds = finish_seconds
        self._logger = logger or logging.getLogger(__name__)
        self._acts: queue.Queue[Act | None] = queue.Queue()
        self.has_stopped = False
        """Whether it takes nothing any more, for the reason that was said."""
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    @property
    def is_working(self) -> bool:
        """Whether the thread still takes records."""
        return self._thread.is_alive()

    def log(self, record: dict[str, Any]) -> None:
        """Passes a copy of a record to the thread."""
        copy = dict(record)
        self._put(lambda tracker: tracker.log(copy))

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Passes samples to the thread."""
        self._put(lambda tracker: tracker.samples(step, samples))

    def rewind(self, step: int) -> None:
        """Passes on that the run has gone back to `step`."""
        self._put(lambda tracker: tracker.rewind(step))

    def finish(self, summary: dict[str, Any]) -> None:
        """Waits for the thread, so many seconds at most."""
        copy = dict(summary)
        self._put(lambda tracker: tracker.finish(copy))
        self._acts.put(None)
        self._thread.join(self._finish_seconds)
        if self.is_working:
            self._stop("no answer at the end")

    def _put(self, act: Act) -> None:
        if self.has_stopped:
            return
        if self._acts.qsize() > _LONGEST_QUEUE:
            self._stop(f"it is {_LONGEST_QUEUE:,} records behind")
        self._acts.put(act)

    def _work(self) -> None:
        try:
            tracker = self._open()
            while (act := self._acts.get()) is not None:
                act(tracker)
        except BaseException as error:  # whatever it is, it must not stop the run; SystemExit would end this in silence
            self._stop(first_line(error))

    def _stop(self, reason: str) -> None:
        """Says once why nothing more goes there."""
        if not self.has_stopped:
            self.has_stopped = True
            self._logger.warning(
                "%s stopped: %s. metrics.jsonl has everything.", self._name, secrets.redacted(reason).rstrip(".")
            )


def first_line(error: BaseException) -> str:
    """What an error says, or of which kind it is."""
    return (str(error) or type(error).__name__).splitlines()[0]
