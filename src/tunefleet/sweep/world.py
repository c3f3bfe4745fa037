"""World of a sweep: what its driver asks of the place where trials run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tunefleet.base.status import Status
from tunefleet.plan.plan import Plan
from tunefleet.sweep.point_filter import Lookup
from tunefleet.sweep.study import Study, Trial, TrialRun


@dataclass(frozen=True)
class Start:
    """A run that is to begin or to go on, to step `until`, or to its end where that is None."""

    trial: Trial
    run: TrialRun
    until: int | None


class World(Protocol):
    """Where trials run. Every act may be asked for twice: what is done already is passed over."""

    def refresh(self) -> None:
        """Begins a round: what was read before is old."""

    def plan(self, values: Mapping[str, str], seed: int | None, warm_from: TrialRun | None) -> Plan:
        """A run of a point. Raises `ConfigError` where it is refused, or does not fit."""

    def lookup(self, values: Mapping[str, str]) -> Lookup:
        """The composed settings of a point, for the filters of the sweep."""

    def finished(self, plan: Plan) -> str | None:
        """The directory of a finished run of the same identity."""

    def capacity(self) -> int | None:
        """How many runs may be there at once; None is no limit."""

    def status(self, run_dir: str) -> Status | None:
        """How a run stands; None for one that never began."""

    def start(self, starts: Sequence[Start]) -> Mapping[str, str]:
        """Begins as many as there is room for; returns {run directory: reason} of those that never can."""

    def prune(self, run_dir: str, reason: str) -> None:
        """Asks a run to save and leave."""

    def stop(self, run_dir: str) -> None:
        """Ends a run for good at the user's request, in the queue too."""

    def drop_checkpoints(self, run_dir: str) -> None:
        """Removes what only a run that goes on needs."""

    def record(self, study: Study) -> None:
        """Writes down which runs belong together, for the commands that take runs."""
