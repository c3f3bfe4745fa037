"""Reasons to stop: complete, early stopping, a rung, a prune file, a signal, the stop file; all ranks agree."""

from __future__ import annotations

import signal
from enum import IntEnum
from types import FrameType

from tunefleet.base import pulse, sweep_requests
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause
from tunefleet.contracts import Group, RunState
from tunefleet.train.early_stopping import EarlyStopping


class Reason(IntEnum):
    """Why a run stops; the largest of all ranks' reasons counts. CONTINUE is none.

    A run at its last step is complete, as is one that gets no better, whatever its sweep asks. Ctrl-C is the user's
    alone, and a launcher that got it too may send SIGTERM after it: INTERRUPT is the largest.
    """

    CONTINUE = 0
    RUNG = 1
    PRUNED = 2
    NO_BETTER = 3
    COMPLETE = 4
    STOP_FILE = 5
    TIME_LIMIT = 6
    TERMINATED = 7
    INTERRUPT = 8

    @property
    def cause(self) -> Cause:
        """The same, as status.json has it."""
        return Cause.NONE if self in (Reason.COMPLETE, Reason.NO_BETTER) else Cause[self.name]


_SIGNALS = {
    signal.SIGINT: Reason.INTERRUPT,
    signal.SIGUSR2: Reason.TIME_LIMIT,  # SLURM sends it some time before the limit: launch.signal_before
    signal.SIGTERM: Reason.TERMINATED,
}


class Stop:
    """Watches for reasons to stop. Signals only set a flag: saving is collective and needs every rank.

    The run's rung is read once, here: a sweep that moves it starts the run again. Raises `RunError` for a damaged one.
    """

    def __init__(
        self, total_steps: int, run: RunPaths, group: Group, early_stopping: EarlyStopping | None = None
    ) -> None:
        self._total = total_steps
        self._run = run
        self._group = group
        self._early_stopping = early_stopping
        self._rung = sweep_requests.rung(run)
        self._signalled = Reason.CONTINUE
        for number in _SIGNALS:
            signal.signal(number, self._flag)

    def reason(self, state: RunState) -> Reason:
        """Why to stop before the next step. Collective: every rank must call it at every step."""
        pulse.enter("agreeing")
        return Reason(self._group.agree(self._reason_here(state.step)))

    def _reason_here(self, step: int) -> Reason:
        if self._signalled:
            return self._signalled
        if self._run.stop.exists():
            return Reason.STOP_FILE
        if step >= self._total:
            return Reason.COMPLETE
        if self._early_stopping and self._early_stopping.is_due:
            return Reason.NO_BETTER
        if self._run.prune.exists():
            return Reason.PRUNED
        return Reason.RUNG if self._rung is not None and step >= self._rung else Reason.CONTINUE

    def _flag(self, number: int, frame: FrameType | None) -> None:
        self._signalled = max(self._signalled, _SIGNALS[signal.Signals(number)])
