"""Own tracker: a class of the user's project as a tracker; of its methods only `log` must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunefleet.config.load import dump
from tunefleet.plan.plan import Plan


class OwnTracker:
    """`make(run_dir, settings)` once, then what the object has of `log(record)`, `samples(step, samples)`,
    `rewind(step)` and `finish(summary)`.
    """

    def __init__(self, plan: Plan, make: Any) -> None:
        self._tracker = make(plan.paths.root, dump(plan.config))

    def log(self, record: dict[str, Any]) -> None:
        """One record."""
        self._tracker.log(record)

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Questions with answers."""
        self._pass_on("samples", step, samples)

    def rewind(self, step: int) -> None:
        """The run has gone back."""
        self._pass_on("rewind", step)

    def finish(self, summary: dict[str, Any]) -> None:
        """The last call."""
        self._pass_on("finish", summary)

    def _pass_on(self, method: str, *arguments: Any) -> None:
        if act := getattr(self._tracker, method, None):
            act(*arguments)
