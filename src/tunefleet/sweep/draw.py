"""Draw: the next point of a sweep, as a pure function of its definition and of the trials that there are.

Whoever advances the sweep draws the same point, so a crash between a draw and its event in the journal changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from tunefleet.config.sweep import SamplerName, SweepConfig
from tunefleet.sweep.point_key import PointKey, key
from tunefleet.sweep.space import Point, Space
from tunefleet.sweep.study import Study

PATIENCE = 200
"""Points in a row that may be refused before a sampler is given up."""
ATTEMPTS = 10
"""Proposals in a row that may repeat earlier points before a sampler is not asked again."""
ENUMERABLE = 10_000
"""Points of a space up to which those that are left are counted."""

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


@dataclass
class Memory:
    """Keys of the points that were tried, by the first trials and left-out points of a study that only grows."""

    keys: set[PointKey] = field(default_factory=set)
    trials: int = 0
    left_out: int = 0

    def tried(self, study: Study) -> set[PointKey]:
        """Every point that was drawn before; only those that are new since the last call are read."""
        self.keys |= {key(trial.values) for trial in islice(study.trials.values(), self.trials, None)}
        self.keys |= {key(point.values) for point in study.left_out[self.left_out :]}
        self.trials, self.left_out = len(study.trials), len(study.left_out)
        return self.keys


def draw(
    space: Space, sweep: SweepConfig, study: Study, accepts: Accepts, memory: Memory | None = None
) -> Drawn | Exhausted:
    """The next point: what users pinned comes first, then the sampler's. No point is drawn twice.

    `accepts` refuses points that cannot be tried; they are in `refused`, and are recorded before anything else is
    drawn. After `PATIENCE` of them in a row a sampler is exhausted with the last one's reason; a grid goes on to its
    end. Whoever draws often gives the same `memory`.
    """
    drawing = _Drawing(space, sweep, study, accepts, (memory or Memory()).tried(study))
    return drawing.pinned() or drawing.sampled()


@dataclass
class _Drawing:
    """One draw: what was tried before, and what is refused in the course of it."""

    space: Space
    sweep: SweepConfig
    study: Study
    accepts: Accepts
    tried: set[PointKey]
    refused: list[Refused] = field(default_factory=list)
    refused_keys: set[PointKey] = field(default_factory=set)

    def pinned(self) -> Drawn | None:
        """The first point that a user asked for and that can be tried. A warm one may repeat another's settings."""
        for pin in self.study.pinned:
            repeats = "" if pin.warm_from is not None else self._trial_of(pin.values)
            if not self._refuses(pin.values, repeats, pin.act):
                return Drawn(pin.values, pin.source, pin.act, pin.warm_from, tuple(self.refused))
        return None

    def _trial_of(self, values: Mapping[str, str]) -> str:
        """The reason that a point is a trial already; empty where it is none. One that was left out may be tried."""
        twins = (trial.number for trial in self.study.trials.values() if key(trial.values) == key(values))
        return next((f"is trial {number}" for number in twins), "")

    def sampled(self) -> Drawn | Exhausted:
        """The sampler's next point."""
        first = len(self.refused)
        while values := self._untried():
            if not self._refuses(values, self.space.refusal(values)):
                return Drawn(values, refused=tuple(self.refused))
            if len(self.refused) - first == PATIENCE and self.sweep.sampler.name is not SamplerName.GRID:
                reason = f"{PATIENCE} points in a row were refused, the last one: {self.refused[-1].reason}"
                return Exhausted(reason, tuple(self.refused))
        return Exhausted("every point of the space is drawn", tuple(self.refused))

    def _refuses(self, values: Mapping[str, str], reason: str, act: str | None = None) -> bool:
        if reason := reason or self.accepts(values):
            self.refused.append(Refused(values, reason, act))
            self.refused_keys.add(key(values))
        return bool(reason)

    def _untried(self) -> Point | None:
        """The sampler's next point that nobody tried."""
        if self.sweep.sampler.name is SamplerName.GRID:
            tried = self.tried | self.refused_keys if self.refused_keys else self.tried
            return next((values for point, values in self.space.keyed_grid if point not in tried), None)
        return next((values for values in self._proposals() if not self._is_tried(key(values))), None)

    def _is_tried(self, point: PointKey) -> bool:
        return point in self.tried or point in self.refused_keys

    def _proposals(self) -> Iterator[Point]:
        """What the sampler proposes; then, where it repeats itself, what is left of the space, or random points.

        Seeds hold the number of events before: a refusal in the journal counts as one that is not there yet.
        """
        from tunefleet.sweep import optuna_study

        sampler, events = self.sweep.sampler, len(self.study.trials) + len(self.study.left_out) + len(self.refused)
        if sampler.name is SamplerName.QUASI_RANDOM:
            yield from islice(
                optuna_study.sequence(self.space, sampler.seed), ATTEMPTS * (len(self.tried) + len(self.refused) + 1)
            )
        else:
            for attempt in range(ATTEMPTS):
                seed = seed_of(sampler.seed, events, attempt)
                yield optuna_study.propose(self.space, self.sweep, self.study, seed)
        if self.space.size is not None and self.space.size <= ENUMERABLE:
            untried = [values for point, values in self.space.keyed_grid if not self._is_tried(point)]
            yield from untried and [untried[seed_of(sampler.seed, events) % len(untried)]]
        else:
            random = replace(self.sweep, sampler=replace(sampler, name=SamplerName.RANDOM))
            for attempt in range(ATTEMPTS, PATIENCE):
                yield optuna_study.propose(self.space, random, self.study, seed_of(sampler.seed, events, attempt))


def seed_of(*parts: int) -> int:
    """A seed below 2**32 made of several numbers, the same on every machine and by every version of Python."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])
