"""Sweeps for tests: definitions from plain values, and studies made of events as a driver writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunefleet.config import load
from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep.draw import Drawn, Exhausted, draw
from tunefleet.sweep.journal import Event
from tunefleet.sweep.space import Space
from tunefleet.sweep.study import Study, fold


def definition(space: Mapping[str, str], **settings: Any) -> SweepConfig:
    """A sweep with this space, and all else as given."""
    return load(SweepConfig, {"space": dict(space), **settings})


def accept(values: Mapping[str, str]) -> str:
    """Refuses nothing."""
    return ""


class History:
    """Events of one sweep, appended as a driver does it, and the study that they are folded to."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def study(self) -> Study:
        """Folded anew each time, as after every restart."""
        return fold(self.events)

    def add(self, kind: str, **data: Any) -> None:
        """One more event."""
        self.events.append(Event(len(self.events) + 1, float(len(self.events)), kind, data))

    def drawn(self, values: Mapping[str, str], first_rung: int = 0, **data: Any) -> int:
        """A trial with these values; returns its number."""
        number = self.study.next_number
        self.add("drawn", trial=number, values=dict(values), runs=[], source="sampler", first_rung=first_rung, **data)
        return number

    def started(self, trial: int, rung: int = 0) -> None:
        """It runs."""
        self.add("started", trial=trial, rung=rung)

    def reached(self, trial: int, rung: int, score: float) -> None:
        """It stands at the end of a rung."""
        self.add("rung", trial=trial, rung=rung, means=[score], spreads=[])

    def finished(self, trial: int, *scores: float) -> None:
        """It is done."""
        self.add("finished", trial=trial, means=list(scores), spreads=[], measured={})

    def failed(self, trial: int) -> None:
        """By its own fault."""
        self.add("failed", trial=trial, reason="loss is NaN")

    def draw(self, space: Space, sweep: SweepConfig, **arguments: Any) -> Drawn | Exhausted:
        """Draws, and records what was refused, and the trial."""
        drawn = draw(space, sweep, self.study, arguments.get("accepts", accept))
        for refused in drawn.refused:
            self.add("left_out", values=dict(refused.values), reason=refused.reason, answers=refused.answers)
        if isinstance(drawn, Drawn):
            self.drawn(drawn.values, answers=drawn.answers)
        return drawn


def points(history: History) -> Sequence[Mapping[str, str]]:
    """The values of all trials, by number."""
    return [trial.values for trial in history.study.trials.values()]
