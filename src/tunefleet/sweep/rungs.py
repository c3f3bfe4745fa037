"""Rungs: where trials stop to be compared, who goes on from there, and who does not.

A rung is a number of steps of a trial's own, full-length schedule: the trial stops there and resumes from its
checkpoint, so that no learning rate is judged by the end of a shorter schedule.

Sources: successive halving: Jamieson & Talwalkar 2016 (https://arxiv.org/abs/1502.07943); hyperband: Li et al. 2018
(https://arxiv.org/abs/1603.06560); ASHA: Li et al. 2020 (https://arxiv.org/abs/1810.05934).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tunefleet.base.errors import ConfigError
from tunefleet.config.sweep import Direction, PrunerConfig, PrunerName, SweepConfig
from tunefleet.sweep.study import Study, Trial, TrialState

RUNG_PRUNERS = (PrunerName.SUCCESSIVE_HALVING, PrunerName.ASHA, PrunerName.HYPERBAND)
"""Pruners that stop a trial at the end of a rung; the others do while it runs, or never."""


@dataclass(frozen=True)
class Promotion:
    """A paused trial goes on to the end of `rung`."""

    trial: int
    rung: int


@dataclass(frozen=True)
class Pruning:
    """A paused trial does not go on, and why."""

    trial: int
    rung: int
    reason: str


Decision = Promotion | Pruning
_ACTIVE = (TrialState.DRAWN, TrialState.RUNNING)
_WITHDRAWN = (TrialState.FAILED, TrialState.STOPPED)


def rung_steps(total_steps: int | None, pruner: PrunerConfig) -> tuple[int, ...]:
    """The step at which each rung ends: the last one is the whole run, each other 1/reduction of the next.

    Raises `ConfigError` where the number of steps is not known beforehand, or too small for so many rungs.
    """
    if pruner.name not in RUNG_PRUNERS:
        raise ValueError(f"{pruner.name.value} has no rungs")
    if total_steps is None:
        raise ConfigError(
            f"train.max_steps: missing: sweep.pruner.name={pruner.name.value} stops trials at a part of their steps. "
            "Type train.max_steps=900, or sweep.pruner.name=none."
        )
    steps = tuple(math.ceil(total_steps / pruner.reduction**above) for above in reversed(range(pruner.rungs)))
    if len(set(steps)) < pruner.rungs:
        raise ConfigError(
            f"train.max_steps={total_steps}: {pruner.rungs} rungs, each 1/{pruner.reduction} of the next, would end "
            f"after {', '.join(map(str, steps))} steps. Type more steps, or a smaller sweep.pruner.rungs."
        )
    return steps


def first_rung(number: int, pruner: PrunerConfig) -> int:
    """The rung that trial `number` runs to at first: 0, but for hyperband.

    Hyperband has a bracket for each first rung. Trials fill them in the order of the paper's table, the most
    aggressive one first, with ceil(K / (s + 1) * reduction**s) trials in the bracket that leaves s rungs above its
    first; then the table begins again.
    """
    if pruner.name is not PrunerName.HYPERBAND:
        return 0
    sizes = bracket_sizes(pruner)
    position = (number - 1) % sum(sizes)
    return next(rung for rung in range(pruner.rungs) if position < sum(sizes[: rung + 1]))


def bracket_sizes(pruner: PrunerConfig) -> list[int]:
    """Trials of each bracket in one round of hyperband, by first rung."""
    above = reversed(range(pruner.rungs))
    return [math.ceil(pruner.rungs * pruner.reduction**s / (s + 1)) for s in above]


def decide(study: Study, sweep: SweepConfig, all_drawn: bool) -> list[Decision]:
    """What becomes of the trials that are paused at the end of a rung, the highest rung first.

    `all_drawn` says that no further trial will be drawn. asha and hyperband promote a trial as soon as it is among the
    best 1/reduction of those that have reached its rung; successive_halving waits until no other can reach it. Then
    those that are left are pruned, and the best one is promoted where 1/reduction of the trials is none. A decision
    that was taken before is not taken again, so a crash among several changes nothing. A trial that failed, or that a
    user stopped, holds up no rung, and its place goes to the next.
    """
    trials = list(study.trials.values())
    brackets = [[trial for trial in trials if trial.first_rung == first] for first in range(sweep.pruner.rungs)]
    decisions = [decision for bracket in brackets for decision in _bracket(bracket, sweep, not all_drawn)]
    return sorted(decisions, key=lambda decision: (-decision.rung, decision.trial))


def ranked(trials: Iterable[Trial], rung: int, direction: Direction) -> list[Trial]:
    """The trials that have reached `rung`, the best first.

    A score that is no number is the worst; of equal ones the earlier trial is the better.
    """
    sign = 1 if direction is Direction.MIN else -1

    def badness(trial: Trial) -> tuple[float, int]:
        mean = trial.scores[rung].means[0]
        return (math.inf if math.isnan(mean) else sign * mean, trial.number)

    return sorted((trial for trial in trials if rung in trial.scores), key=badness)


def _bracket(trials: Sequence[Trial], sweep: SweepConfig, is_open: bool) -> Iterator[Decision]:
    """From the lowest rung up; a rung is open while a trial may still reach it."""
    for rung in range(sweep.pruner.rungs - 1):
        is_open = is_open or any(trial.state in _ACTIVE and trial.rung <= rung for trial in trials)
        decisions = list(_rung(trials, rung, sweep, is_open))
        yield from decisions
        is_open = is_open or any(isinstance(decision, Promotion) for decision in decisions)


def _rung(trials: Sequence[Trial], rung: int, sweep: SweepConfig, is_open: bool) -> Iterator[Decision]:
    if is_open and sweep.pruner.name is PrunerName.SUCCESSIVE_HALVING:
        return
    reached = ranked(trials, rung, next(iter(sweep.objective.values())))
    places = len(reached) // sweep.pruner.reduction
    places = places if is_open else max(1, places)
    for place, trial in enumerate((trial for trial in reached if trial.state not in _WITHDRAWN), 1):
        if trial.state is not TrialState.PAUSED or trial.rung != rung:
            continue
        if place <= places:
            yield Promotion(trial.number, rung + 1)
        elif not is_open:
            yield Pruning(
                trial.number, rung, f"place {place} of {len(reached)} at rung {rung}; the best {places} go on"
            )
