"""History of a sweep: results in the order in which they came, what was decided and asked for, and its rungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from tunefleet.base.errors import ConfigError
from tunefleet.config.sweep import PrunerConfig
from tunefleet.sweep import event_text, rungs
from tunefleet.sweep.journal import Event
from tunefleet.sweep.objective import Objectives
from tunefleet.sweep.study import Study, Trial, TrialState

_TOO_MANY = ("started", "left_out")  # kinds that other parts of a report show


@dataclass(frozen=True)
class Result:
    """A trial that finished, in seconds since 1970, with the mean of the first objective."""

    at: float
    trial: int
    mean: float


@dataclass(frozen=True)
class Happening:
    """An event worth reading. `by_user` is whether a user asked for it."""

    at: float
    kind: str
    trial: int | None
    text: str
    by_user: bool


@dataclass(frozen=True)
class RungCount:
    """How many trials came to the end of a rung, went on from there, and were pruned there. The first is rung 0.

    `step` is where it ends; None where that cannot be told.
    """

    rung: int
    step: int | None
    reached: int
    promoted: int
    pruned: int


def results(events: Sequence[Event]) -> list[Result]:
    """All finished trials with the time of their end."""
    ended = [event for event in events if event.kind == "finished" and event.data["means"]]
    return [Result(event.at, event.data["trial"], event.data["means"][0]) for event in ended]


def happenings(events: Sequence[Event], objectives: Objectives, limit: int = 2000) -> list[Happening]:
    """The newest `limit` events that have something to say, the newest first."""
    texts = ((event, event_text.text_of(event, list(objectives))) for event in reversed(events))
    telling = ((event, text) for event, text in texts if text and event.kind not in _TOO_MANY)
    return [
        Happening(event.at, event.kind, event.data.get("trial"), text, bool(event.data.get("act")))
        for event, text in islice(telling, limit)
    ]


def rung_counts(study: Study, pruner: PrunerConfig) -> list[RungCount]:
    """A line for each rung that a trial stood at; none without a pruner that has rungs."""
    trials = list(study.trials.values())
    reached = sorted({rung for trial in trials for rung in trial.scores})
    steps = dict(enumerate(_rung_steps(trials, pruner)))
    return [
        RungCount(
            rung,
            steps.get(rung),
            sum(rung in trial.scores for trial in trials),
            sum(rung in trial.scores and trial.rung > rung for trial in trials),
            sum(trial.state is TrialState.PRUNED and trial.rung == rung for trial in trials),
        )
        for rung in reached
    ]


def _rung_steps(trials: Sequence[Trial], pruner: PrunerConfig) -> Sequence[int]:
    total = next((run.total_steps for trial in trials for run in trial.runs if run.total_steps), None)
    try:
        return rungs.rung_steps(total, pruner) if total and pruner.name in rungs.RUNG_PRUNERS else ()
    except ConfigError:  # of a definition that another version checked
        return ()
