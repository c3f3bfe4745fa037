"""Trackers as one: each gets every record in turn, the file of metrics first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunefleet.contracts import Tracker


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker], places: Callable[[], dict[str, str]] = dict) -> None:
        self.places = places
        """Where those have the run that keep it elsewhere, by their names."""
        self._trackers: Sequence[Tracker] = trackers

    def log(self, record: dict[str, Any]) -> None:
        """Logs to every tracker."""
        for tracker in self._trackers:
            tracker.log(record)

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Questions with the model's answers, to every tracker; nothing where there are none."""
        for tracker in self._trackers if samples else ():
            tracker.samples(step, samples)

    def rewind(self, step: int) -> None:
        """What follows is from after `step`, to every tracker."""
        for tracker in self._trackers:
            tracker.rewind(step)

    def finish(self, summary: dict[str, Any]) -> None:
        """The last call, to every tracker; once."""
        trackers, self._trackers = self._trackers, ()
        for tracker in trackers:
            tracker.finish(summary)
