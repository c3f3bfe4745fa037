"""Decisions of a round: which trials go on, which begin, and whether the sweep is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice

from tunefleet.base.errors import ConfigError
from tunefleet.config.sweep import PrunerName, SweepConfig
from tunefleet.plan.horizon import total_steps
from tunefleet.plan.plan import Plan
from tunefleet.sweep import limits, measure, median_rule, rungs, user_acts
from tunefleet.sweep.draw import Drawn, Exhausted, Memory, draw
from tunefleet.sweep.ledger import Ledger
from tunefleet.sweep.settle import Stand
from tunefleet.sweep.sight import Sight
from tunefleet.sweep.study import Trial, TrialRun, TrialState
from tunefleet.sweep.world import World


class Decisions:
    """Written into the ledger before anything is done. `settle` takes over a trial whose runs are finished already."""

    def __init__(self, ledger: Ledger, world: World, sight: Sight, settle: Callable[[Trial], None]) -> None:
        self._ledger, self._world, self._sight, self._settle = ledger, world, sight, settle
        self._study = ledger.study
        self._curves: dict[int, dict[int, float]] = {}
        self._memory = Memory()
        self._identities: dict[str, int] = {}
        self._indexed = 0
        self._accepted: tuple[Mapping[str, str], list[tuple[int | None, Plan]]] = ({}, [])

    def decide(self) -> None:
        """As long as one decision leads to another: a trial that is taken over may promote one that is paused."""
        written = -1
        while written < self._ledger.length:
            written = self._ledger.length
            if self._study.stops:
                self._end_all()
            if not self._study.closed:
                self._decide_next(self._ledger.sweep)

    def room(self, sweep: SweepConfig) -> float:
        """How many runs may be there at once."""
        capacity = self._world.capacity()
        return min(sweep.in_flight or math.inf, math.inf if capacity is None else capacity)

    def _end_all(self) -> None:
        for trial in self._study.in_state(TrialState.RUNNING):
            if trial.ending is None:
                self._end(trial.number, TrialState.STOPPED, user_acts.BY_USER)

    def _end(self, number: int, state: TrialState, reason: str) -> None:
        self._ledger.record("ending", trial=number, state=state.value, reason=reason)

    def _decide_next(self, sweep: SweepConfig) -> None:
        limit = limits.reached(self._study, sweep, self._sight.statuses)
        if not limit and sweep.pruner.name is PrunerName.MEDIAN:
            self._decide_median(sweep)
        if not limit and sweep.pruner.name in rungs.RUNG_PRUNERS:
            self._decide_rungs(sweep, self._all_drawn(sweep))
        exhausted = self._fill(sweep, limit)
        self._close_when_over(sweep, limit, exhausted)

    def _decide_rungs(self, sweep: SweepConfig, all_drawn: bool) -> None:
        for decision in rungs.decide(self._study, sweep, all_drawn):
            if isinstance(decision, rungs.Promotion):
                self._ledger.record("promoted", trial=decision.trial, rung=decision.rung)
            else:
                self._ledger.record("pruned", trial=decision.trial, reason=decision.reason)

    def _decide_median(self, sweep: SweepConfig) -> None:
        """Which running trials are behind."""
        objective, direction = next(iter(sweep.objective.items()))
        for trial in self._study.in_state(TrialState.FINISHED):
            if trial.number not in self._curves:
                self._curves[trial.number] = measure.curve(trial.runs, objective)
        running = [trial for trial in self._study.in_state(TrialState.RUNNING) if trial.ending is None]
        curves = {trial.number: measure.curve(trial.runs, objective) for trial in running}
        behind = median_rule.behind(curves, self._curves, direction, sweep.pruner.startup_trials)
        for number, reason in behind.items():
            self._end(number, TrialState.PRUNED, reason)

    # Beginning

    def _fill(self, sweep: SweepConfig, limit: str) -> str:
        """Starts what goes on, then what is new, as long as there is room; returns why nothing more can be drawn."""
        free = self.room(sweep) - self._sight.count(Stand.LIVE, Stand.PENDING)
        drawn = sorted(self._study.in_state(TrialState.DRAWN), key=lambda trial: (-trial.rung, trial.number))
        for trial in drawn:
            if free > 0 and (trial.stood or not limit):
                free -= self._start(trial)
        while free > 0 and not limit:
            new = self._draw(sweep)
            if isinstance(new, str):
                return new
            if new.state is TrialState.DRAWN:
                free -= self._start(new)
        return ""

    def _start(self, trial: Trial) -> int:
        """Decides that a trial begins; returns the number of its runs that need room."""
        statuses = {run.run_dir: self._sight.status(run) for run in trial.runs}
        stood = {run_dir: status.updated if status else None for run_dir, status in statuses.items()}
        self._ledger.record("started", trial=trial.number, rung=trial.rung, stood=stood)
        return self._sight.stands(self._study.trials[trial.number]).count(Stand.PENDING)

    def _draw(self, sweep: SweepConfig) -> Trial | str:
        """A new trial, or why there is none."""
        all_drawn = self._all_drawn(sweep)
        enough = f"all {len(self._study.trials)} trials have ended"
        if not self._study.pinned and all_drawn:
            return enough
        drawn = draw(self._ledger.space, sweep, self._study, self._refusal, self._memory)
        for refused in drawn.refused:
            self._ledger.record("left_out", values=refused.values, reason=refused.reason, answers=refused.answers)
        if isinstance(drawn, Exhausted):
            return drawn.reason
        if all_drawn and drawn.answers is None:  # what was pinned is left out, and only that was to be drawn
            return enough
        try:
            return self._add(sweep, drawn)
        except ConfigError as error:  # a warm start whose weights cannot be used
            self._ledger.record("left_out", values=drawn.values, reason=str(error), answers=drawn.answers)
            return self._draw(sweep)

    def _add(self, sweep: SweepConfig, drawn: Drawn) -> Trial:
        """Writes a drawn point down; one whose runs are finished already is taken over at once."""
        number, warm = self._study.next_number, self._study.trials.get(drawn.warm_from or 0)
        planned = self._planned(sweep, drawn.values, warm)
        adopted = all(planned.values())
        self._ledger.record(
            "drawn",
            trial=number,
            values=drawn.values,
            runs=[asdict(run) for run in planned],
            source="adopted" if adopted else drawn.source,
            first_rung=rungs.first_rung(number, sweep.pruner),
            warm_from=drawn.warm_from,
            answers=drawn.answers,
        )
        if adopted:
            self._settle(self._study.trials[number])
        return self._study.trials[number]

    def _planned(self, sweep: SweepConfig, values: Mapping[str, str], warm: Trial | None) -> dict[TrialRun, bool]:
        """The runs of a point, one for each seed, and whether each is finished already."""
        planned = {}
        accepted, plans = self._accepted
        for seed, plan in plans if accepted == values else self._plans(sweep, values, warm):
            directory = self._world.finished(plan)
            steps, ranks = total_steps(plan, None), plan.layout.world_size
            run_dir = directory or plan.run_dir
            run = TrialRun(run_dir, plan.identity, plan.overrides, seed, steps, ranks, plan.parameters)
            planned[run] = directory is not None
        return planned

    def _plans(
        self, sweep: SweepConfig, values: Mapping[str, str], warm: Trial | None
    ) -> Iterator[tuple[int | None, Plan]]:
        for index, seed in enumerate(sweep.seeds or (None,)):
            yield seed, self._world.plan(values, seed, warm.runs[index] if warm else None)

    def _refusal(self, values: Mapping[str, str]) -> str:
        """Why a point cannot be tried; empty where it can."""
        pin = next((pin for pin in self._study.pinned if pin.values == values), None)
        warm = self._study.trials.get(pin.warm_from or 0) if pin else None
        try:
            if not pin and (reason := self._ledger.space.refusal(values, self._world.lookup(values))):
                return reason
            plans = list(self._plans(self._ledger.sweep, values, warm))
        except ConfigError as error:
            return "; ".join(error.complaints)
        self._accepted = values, plans
        twin = next((number for _, plan in plans if (number := self._trial_of(plan.identity))), None)
        return f"is trial {twin} in other words" if twin else ""

    def _trial_of(self, identity: str) -> int | None:
        """The trial that has a run of this identity."""
        for trial in islice(self._study.trials.values(), self._indexed, None):
            self._identities |= {run.identity: trial.number for run in trial.runs}
        self._indexed = len(self._study.trials)
        return self._identities.get(identity)

    # The end

    def _all_drawn(self, sweep: SweepConfig) -> bool:
        """Whether the limit of trials is reached: pinned points come besides."""
        return limits.drawn(self._study) >= (sweep.trials or math.inf)

    def _close_when_over(self, sweep: SweepConfig, limit: str, exhausted: str) -> None:
        """Nothing runs, nothing waits, and nothing more is to be drawn."""
        if self._study.in_state(TrialState.RUNNING) or not (limit or exhausted):
            return
        if exhausted and sweep.pruner.name in rungs.RUNG_PRUNERS:
            self._decide_rungs(sweep, all_drawn=True)
        drawn, paused = self._study.in_state(TrialState.DRAWN), self._study.in_state(TrialState.PAUSED)
        waits = [trial for trial in drawn if trial.stood] if limit else [*drawn, *paused, *self._study.pinned]
        if not waits:
            self._ledger.record("closed", reason=limit or exhausted)
