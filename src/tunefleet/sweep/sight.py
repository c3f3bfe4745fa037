"""Sight of a round: how the runs of a sweep stood when the round looked, each asked for once."""

from __future__ import annotations

from collections.abc import Sequence

from tunefleet.base.status import Status
from tunefleet.sweep import settle
from tunefleet.sweep.ledger import Ledger
from tunefleet.sweep.rung_ends import end_of
from tunefleet.sweep.settle import Stand
from tunefleet.sweep.study import Trial, TrialRun, TrialState
from tunefleet.sweep.world import World


class Sight:
    """What is seen of the runs in `world`."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world, self._ledger = world, ledger
        self.statuses: dict[str, Status | None] = {}

    def refresh(self) -> None:
        """Begins a round."""
        self._world.refresh()
        self.statuses = {}

    def status(self, run: TrialRun) -> Status | None:
        """How a run stood in this round."""
        if run.run_dir not in self.statuses:
            self.statuses[run.run_dir] = self._world.status(run.run_dir)
        return self.statuses[run.run_dir]

    def until(self, trial: Trial, run: TrialRun) -> int | None:
        """The step that a run trains to; None is its end."""
        return end_of(trial.rung, run.total_steps, self._ledger.sweep)

    def stand(self, trial: Trial, run: TrialRun) -> Stand:
        """Where a run of a trial stood."""
        return settle.stand(trial, run, self.status(run), self.until(trial, run))

    def stands(self, trial: Trial) -> Sequence[Stand]:
        """Where the runs of a trial stood."""
        return [self.stand(trial, run) for run in trial.runs]

    def count(self, *stands: Stand) -> int:
        """The runs of running trials that stood like this."""
        running = self._ledger.study.in_state(TrialState.RUNNING)
        return sum(stand in stands for trial in running for stand in self.stands(trial))
