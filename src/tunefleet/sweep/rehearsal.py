"""Rehearsal of a round: what the next advance would write down, without writing or doing anything."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.base.status import Status
from tunefleet.base.sweeps import SweepPaths
from tunefleet.plan.plan import Plan
from tunefleet.sweep.driver import Driver
from tunefleet.sweep.inbox import Act
from tunefleet.sweep.journal import Event, Journal
from tunefleet.sweep.point_filter import Lookup
from tunefleet.sweep.study import Study, TrialRun
from tunefleet.sweep.world import Start, World


class RehearsedDriver(Driver):
    """Decides as a driver does, over a journal that is only remembered."""

    def _open(self, paths: SweepPaths) -> Journal:
        journal = super()._open(paths)
        return _Remembered(journal.path, journal.events, journal.damaged)

    def _forget(self, act: Act) -> None:
        """The act still waits for a real round."""


class _Remembered(Journal):
    def append(self, kind: str, **data: Any) -> Event:
        number = self.events[-1].number + 1 if self.events else 1
        event = Event(number, time.time(), kind, data)
        self.events.append(event)
        return event


@dataclass
class Onlooker:
    """A world in which nothing is done: questions go to the real one."""

    world: World
    room: int | None
    would_begin: int = 0
    """Runs that it was asked to start."""

    def refresh(self) -> None:
        """As in the real one."""
        self.world.refresh()

    def plan(self, values: Mapping[str, str], seed: int | None, warm_from: TrialRun | None) -> Plan:
        """As in the real one."""
        return self.world.plan(values, seed, warm_from)

    def lookup(self, values: Mapping[str, str]) -> Lookup:
        """As in the real one."""
        return self.world.lookup(values)

    def finished(self, plan: Plan) -> str | None:
        """As in the real one."""
        return self.world.finished(plan)

    def capacity(self) -> int | None:
        """The room of whoever would advance it."""
        return self.room

    def status(self, run_dir: str) -> Status | None:
        """As in the real one."""
        return self.world.status(run_dir)

    def start(self, starts: Sequence[Start]) -> Mapping[str, str]:
        """Nothing begins; what would is counted."""
        self.would_begin += len(starts)
        return {}

    def prune(self, run_dir: str, reason: str) -> None:
        """Nothing is asked of the run."""

    def stop(self, run_dir: str) -> None:
        """Nothing ends."""

    def drop_checkpoints(self, run_dir: str) -> None:
        """Nothing is removed."""

    def record(self, study: Study) -> None:
        """Nothing is written."""
