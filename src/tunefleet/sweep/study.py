"""Study: the state of a sweep as a pure function of its journal's events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from tunefleet.sweep.journal import Event


class TrialState(Enum):
    """Where a trial stands. A drawn or paused one has nothing running; the last four are final until it is retried."""

    DRAWN = "drawn"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def final(self) -> bool:
        """Whether nothing more happens to it unless somebody asks."""
        return self in (TrialState.FINISHED, TrialState.PRUNED, TrialState.FAILED, TrialState.STOPPED)


@dataclass(frozen=True)
class TrialRun:
    """One run of a trial, a replicate for each seed. `overrides` compose it; `total_steps` are its schedule's.

    `parameters` are the model's; None where the family cannot be counted.
    """

    run_dir: str
    identity: str
    overrides: tuple[str, ...]
    seed: int | None = None
    total_steps: int | None = None
    world_size: int = 1
    parameters: int | None = None


@dataclass(frozen=True)
class Score:
    """The objectives of a trial at the end of a rung: means over its seeds, and their standard deviations."""

    means: tuple[float, ...]
    spreads: tuple[float, ...] = ()


@dataclass(frozen=True)
class Trial:
    """A point of the space. `values` are its overrides that differ; `rung` is the one that it runs to, from 0 on.

    `scores` are by rung; `result` is the score of a finished trial. `source` is who chose it: sampler, pin, clone of N.
    `retries` counts how often its machine was lost and it began again by itself. `measured` holds steps, tokens,
    tokens_per_second, gpu_hours and restarts once it has stood still.
    """

    number: int
    values: Mapping[str, str]
    runs: tuple[TrialRun, ...]
    source: str = "sampler"
    state: TrialState = TrialState.DRAWN
    rung: int = 0
    first_rung: int = 0
    scores: Mapping[int, Score] = field(default_factory=dict)
    result: Score | None = None
    reason: str = ""
    retries: int = 0
    warm_from: int | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    stood: Mapping[str, float | None] = field(default_factory=dict)
    """{run directory: time of its status} when it was decided to start them: one that still stands so has not begun."""
    ending: TrialState | None = None
    """What it becomes when its runs have left: somebody decided to end it, for `reason`."""

    @property
    def name(self) -> str:
        """What sets it apart."""
        return " ".join(f"{key}={value}" for key, value in self.values.items())


@dataclass(frozen=True)
class Pinned:
    """A point that a user wants tried next. `act` is the id of the act that asked for it."""

    act: str
    values: Mapping[str, str]
    source: str
    warm_from: int | None = None


@dataclass(frozen=True)
class LeftOut:
    """A point that was drawn and not started."""

    values: Mapping[str, str]
    reason: str


@dataclass
class Study:
    """All trials by number, the limits as they were changed last, and what users asked for and nobody has done yet.

    Only `fold` changes it.
    """

    trials: dict[int, Trial] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    """What `extend` changed: trials, gpu_hours, in_flight, space (a dictionary of keys and values)."""
    pinned: list[Pinned] = field(default_factory=list)
    """Points that users want tried next, in their order."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Points that were drawn and then left out, each with its reason."""
    closed: str = ""
    """Why the sweep is over; empty while it is not."""
    stops: bool = False
    """Whether it is over because a user stopped it: what runs is to end."""
    acts: set[str] = field(default_factory=set)
    """Ids of the users' acts that the journal holds: one that comes twice counts once."""

    @property
    def next_number(self) -> int:
        """The number of the next trial: no number is used again."""
        return max(self.trials, default=0) + 1

    def knows(self, act: str) -> bool:
        """Whether the journal holds a user's act."""
        return act in self.acts

    def in_state(self, *states: TrialState) -> list[Trial]:
        """The trials in these states, by number."""
        return [trial for trial in self.trials.values() if trial.state in states]


def fold(events: Iterable[Event]) -> Study:
    """The study that the events tell of. Unknown events change nothing: a newer version may have written them.

    Nor do those of a trial that is not there, or without a field: the line that is missing cannot be read.
    """
    study = Study()
    for event in events:
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            apply(study, event)
    return study


def apply(study: Study, event: Event) -> None:
    """Changes the study by one more event; by none whose act it knows already."""
    act = event.data.get("act")
    if act and study.knows(act):
        return
    if act:
        study.acts.add(act)
    if change := _CHANGES.get(event.kind):
        change(study, event.data)


def _drawn(study: Study, data: Mapping[str, Any]) -> None:
    """A trial is there. The pinned point that it answers is done."""
    runs = tuple(TrialRun(**{**run, "overrides": tuple(run["overrides"])}) for run in data["runs"])
    first, warm = data.get("first_rung", 0), data.get("warm_from")
    trial = Trial(data["trial"], data["values"], runs, data["source"], rung=first, first_rung=first, warm_from=warm)
    study.trials[trial.number] = trial
    study.pinned = [pinned for pinned in study.pinned if pinned.act != data.get("answers")]


def _left_out(study: Study, data: Mapping[str, Any]) -> None:
    study.left_out.append(LeftOut(data["values"], data["reason"]))
    study.pinned = [pinned for pinned in study.pinned if pinned.act != data.get("answers")]


def _started(study: Study, data: Mapping[str, Any]) -> None:
    """Its runs are to be submitted, or to begin here, towards the end of a rung."""
    _change(study, data, state=TrialState.RUNNING, rung=data["rung"], reason="", stood=data.get("stood", {}))


def _rung(study: Study, data: Mapping[str, Any]) -> None:
    """All runs of it stand at the end of a rung."""
    trial = study.trials[data["trial"]]
    scores, measured = {**trial.scores, data["rung"]: _score(data)}, data.get("measured", trial.measured)
    _change(study, data, state=TrialState.PAUSED, scores=scores, measured=measured)


def _promoted(study: Study, data: Mapping[str, Any]) -> None:
    """It goes on to the end of another rung, once there is room."""
    _change(study, data, state=TrialState.DRAWN, rung=data["rung"], reason="")


def _finished(study: Study, data: Mapping[str, Any]) -> None:
    changes = {"result": _score(data), "measured": data["measured"], "reason": "", "ending": None}
    _change(study, data, state=TrialState.FINISHED, **changes)


def _ending(study: Study, data: Mapping[str, Any]) -> None:
    """Its runs are asked to leave."""
    _change(study, data, ending=TrialState(data["state"]), reason=data["reason"])


def _ended(state: TrialState) -> Change:
    def change(study: Study, data: Mapping[str, Any]) -> None:
        measured = data.get("measured", study.trials[data["trial"]].measured)
        _change(study, data, state=state, reason=data["reason"], measured=measured, ending=None)

    return change


def _retried(study: Study, data: Mapping[str, Any]) -> None:
    """Its machine was lost: it is to be started again by itself, from its newest checkpoint."""
    retries = study.trials[data["trial"]].retries + 1
    _change(study, data, state=TrialState.DRAWN, retries=retries, reason=data["reason"])


def _resumed(study: Study, data: Mapping[str, Any]) -> None:
    """Somebody wants it started again, to the end of a rung; a sweep that was over goes on."""
    study.closed, study.stops = "", False
    _change(study, data, state=TrialState.DRAWN, rung=data["rung"], retries=0, reason="", result=None, ending=None)


def _pinned(study: Study, data: Mapping[str, Any]) -> None:
    study.closed, study.stops = "", False
    study.pinned.append(Pinned(data["act"], data["values"], data["source"], data.get("warm_from")))


def _extended(study: Study, data: Mapping[str, Any]) -> None:
    """Other limits, or a wider space; a sweep that was over goes on."""
    space = {**study.limits.get("space", {}), **data["limits"].get("space", {})}
    study.limits |= {**data["limits"], "space": space}
    study.closed, study.stops = "", False


def _closed(study: Study, data: Mapping[str, Any]) -> None:
    study.closed, study.stops = data["reason"], data.get("stops", False)


def _change(study: Study, data: Mapping[str, Any], **changes: Any) -> None:
    trial = study.trials[data["trial"]]
    study.trials[trial.number] = replace(trial, **changes)


def _score(data: Mapping[str, Any]) -> Score:
    return Score(tuple(data["means"]), tuple(data["spreads"]))


Change = Callable[[Study, Mapping[str, Any]], None]
_CHANGES: Mapping[str, Change] = {
    "drawn": _drawn,
    "left_out": _left_out,
    "started": _started,
    "rung": _rung,
    "promoted": _promoted,
    "ending": _ending,
    "pruned": _ended(TrialState.PRUNED),
    "finished": _finished,
    "failed": _ended(TrialState.FAILED),
    "stopped": _ended(TrialState.STOPPED),
    "retried": _retried,
    "resumed": _resumed,
    "pinned": _pinned,
    "extended": _extended,
    "closed": _closed,
}
"""Every event and what it changes; docs/architecture.md has their fields."""
