"""Driver of a sweep: one round of reading what happened, deciding what follows, and doing it.

Everything is written into the journal before it is done. A driver that is killed in between leaves a decision that the
next one carries out: a run that was to begin stands as it did when that was decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.sweep import Losers
from tunefleet.sweep import inbox, measure, settle, user_acts
from tunefleet.sweep.decide import Decisions
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.inbox import Act
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.ledger import Ledger
from tunefleet.sweep.losers import losers
from tunefleet.sweep.rung_ends import last_rung
from tunefleet.sweep.settle import Stand
from tunefleet.sweep.sight import Sight
from tunefleet.sweep.study import Score, Study, Trial, TrialState
from tunefleet.sweep.trial_measures import measures
from tunefleet.sweep.world import Start, World

_STANDS_STILL = ("rung", "finished", "failed", "stopped", "pruned")


@dataclass(frozen=True)
class Progress:
    """How a sweep stands after a round: runs that are queued or running, and runs that wait for room."""

    study: Study
    in_flight: int
    waiting: int


class Driver:
    """The only writer of a sweep's journal; whoever makes one holds the sweep's lock."""

    def __init__(
        self, paths: SweepPaths, definition: Definition, world: World, report: Callable[[str], None] = print
    ) -> None:
        self._inbox, self._world = paths.inbox, world
        journal = self._open(paths)
        for complaint in journal.complaints():
            report(f"note: {complaint}")
        self._ledger = Ledger(journal, definition, report)
        self._sight = Sight(world, self._ledger)
        self._decisions = Decisions(self._ledger, world, self._sight, self._settle_trial)
        self._dropped: set[int] = set()

    def advance(self) -> Progress:
        """One round. Raises `OSError` where the journal cannot be written: what was not written is not done."""
        self._take_acts()
        self._settle()
        self._decisions.decide()
        return self._act()

    def _open(self, paths: SweepPaths) -> Journal:
        return Journal.read(paths.journal)

    # What users ask for

    def _take_acts(self) -> None:
        """Each becomes an event, once: the file goes when the event is written."""
        study = self._ledger.study
        for act in inbox.acts(self._inbox):
            if not study.knows(act.id):
                outcome = user_acts.event_of(study, act.kind, act.data, last_rung(self._ledger.sweep))
                self._ledger.record(outcome.kind, **outcome.data, act=act.id)
            self._forget(act)

    def _forget(self, act: Act) -> None:
        act.path.unlink(missing_ok=True)

    # What happened

    def _settle(self) -> None:
        self._sight.refresh()
        for trial in self._ledger.study.in_state(TrialState.RUNNING):
            self._settle_trial(trial)

    def _settle_trial(self, trial: Trial) -> None:
        """Writes down what became of a trial, where there is something to say."""
        statuses = [self._sight.status(run) for run in trial.runs]
        outcome = settle.outcome(trial, self._sight.stands(trial), statuses, self._score)
        if outcome:
            used = {"measured": measures(trial.runs, statuses)} if outcome.kind in _STANDS_STILL else {}
            self._ledger.record(outcome.kind, trial=trial.number, **outcome.data, **used)

    def _score(self, trial: Trial, at_end: bool) -> Score | str:
        step = None if at_end else self._sight.until(trial, trial.runs[0])
        return measure.score(trial.runs, self._ledger.sweep.objective, step)

    # What is done

    def _act(self) -> Progress:
        study, sweep = self._ledger.study, self._ledger.sweep
        in_flight, waiting = self._sight.count(Stand.LIVE), self._waiting()
        begun = waiting[: int(min(self._decisions.room(sweep) - in_flight, len(waiting)))]
        for run_dir, reason in (self._world.start(begun) if begun else {}).items():
            self._refuse(next(start.trial.number for start in begun if start.run.run_dir == run_dir), reason)
        for trial in study.in_state(TrialState.RUNNING):
            if trial.ending:
                self._ask_to_leave(trial)
        if sweep.losers is Losers.DROP_CHECKPOINTS:
            self._drop_losers()
        self._world.record(study)
        return Progress(study, in_flight + len(begun), len(waiting) - len(begun))

    def _waiting(self) -> list[Start]:
        """The runs that it was decided to start, and that have not begun."""
        return [
            Start(trial, run, self._sight.until(trial, run))
            for trial in self._ledger.study.in_state(TrialState.RUNNING)
            for run in trial.runs
            if trial.ending is None and self._sight.stand(trial, run) is Stand.PENDING
        ]

    def _refuse(self, number: int, reason: str) -> None:
        """A run that never can begin; another seed of its trial may have been refused before it."""
        if self._ledger.study.trials[number].state is TrialState.RUNNING:
            self._ledger.record("failed", trial=number, reason=reason)

    def _ask_to_leave(self, trial: Trial) -> None:
        for run in trial.runs:
            if self._sight.stand(trial, run) is Stand.LIVE:
                if trial.ending is TrialState.STOPPED:
                    self._world.stop(run.run_dir)
                else:
                    self._world.prune(run.run_dir, trial.reason)

    def _drop_losers(self) -> None:
        for trial in losers(self._ledger.study, self._ledger.sweep.objective):
            if trial.number not in self._dropped:
                for run in trial.runs:
                    self._world.drop_checkpoints(run.run_dir)
            self._dropped.add(trial.number)
