"""Draw: the next point of a sweep, as a pure function of its definition and of the trials that there are.

Whoever advances the sweep draws the same point, so a crash between a draw and its event in the journal changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tunefleet.config.sweep import SamplerName, SweepConfig
from tunefleet.sweep.space import Point, Space, canonical
from tunefleet.sweep.study import Pinned, Study

PATIENCE = 200
"""Points in a row that may be refused before a search gives up."""

Accepts = Callable[[Mapping[str, str]], str]
"""Why a point cannot be tried (a filter, the plan, memory); empty where it can."""


@dataclass(frozen=True)
class Refused:
    """A point that was drawn and cannot be tried. `answers` is the act of a user's that asked for it."""

    values: Mapping[str, str]
    reason: str
    answers: str | None = None


@dataclass(frozen=True)
class Drawn:
    """The next point, who chose it, and the points that were refused on the way, which are recorded before it."""

    values: Mapping[str, str]
    source: str = "sampler"
    answers: str | None = None
    warm_from: int | None = None
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class Exhausted:
    """There is no further point, and why."""

    reason: str
    refused: tuple[Refused, ...] = ()


class Proposals(Protocol):
    """A sampler: proposes points without end, or until it has no other."""

    def __call__(self, space: Space, sweep: SweepConfig, study: Study) -> Iterator[Point]:
        """Points in the order in which they are to be tried."""


@dataclass
class _Draw:
    space: Space
    study: Study
    accepts: Accepts
    refused: list[Refused] = field(default_factory=list)

    def pinned(self) -> Drawn | None:
        """The first point that a user asked for and that can be tried."""
        tried = self.points()
        for pin in self.study.pinned:
            reason = tried.get(key(pin.values), "") if pin.warm_from is None else ""
            if reason := reason or self.accepts(pin.values):
                self.refused.append(Refused(pin.values, reason, pin.act))
            else:
                return _as_asked(pin, tuple(self.refused))
        return None

    def points(self) -> dict[frozenset[tuple[str, str]], str]:
        """Every point that was drawn before, with what became of it."""
        tried = {key(trial.values): f"is trial {trial.number} already" for trial in self.study.trials.values()}
        return {key(point.values): point.reason for point in self.study.left_out} | tried


def draw(space: Space, sweep: SweepConfig, study: Study, accepts: Accepts) -> Drawn | Exhausted:
    """The next point: what users pinned comes first, then the sampler's. No point is drawn twice.

    `accepts` refuses points that cannot be tried; they are in `refused`, and are recorded before anything else is
    drawn. After `PATIENCE` of them in a row the search is exhausted with the last one's reason.
    """
    drawing = _Draw(space, study, accepts)
    if drawn := drawing.pinned():
        return drawn
    tried = set(drawing.points())
    refusals = 0
    for values in _proposals(sweep.sampler.name)(space, sweep, study):
        if key(values) in tried:
            continue
        reason = space.refusal(values) or accepts(values)
        if not reason:
            return Drawn(values, refused=tuple(drawing.refused))
        tried.add(key(values))
        drawing.refused.append(Refused(values, reason))
        refusals += 1
        if refusals == PATIENCE:
            return Exhausted(f"{PATIENCE} points in a row were refused, the last one: {reason}", tuple(drawing.refused))
    return Exhausted("every point of the space is drawn", tuple(drawing.refused))


def key(values: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """One key for all spellings and orders of a point."""
    return frozenset((name, canonical(value)) for name, value in values.items())


def seed_of(*parts: int) -> int:
    """A seed made of several numbers, the same on every machine (Python's own `hash` promises that for numbers only
    within a version)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])


def _as_asked(pin: Pinned, refused: tuple[Refused, ...]) -> Drawn:
    return Drawn(pin.values, pin.source, pin.act, pin.warm_from, refused)


def _proposals(name: SamplerName) -> Proposals:
    if name is SamplerName.GRID:
        return _grid
    raise NotImplementedError(name)


def _grid(space: Space, sweep: SweepConfig, study: Study) -> Iterator[Point]:
    return iter(space.grid())
