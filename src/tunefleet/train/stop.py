"""Reasons to stop: complete, early stopping, a rung, a prune file, a signal, the stop file, the disk; all agree."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tunefleet.base import pulse, sweep_requests
from tunefleet.base.errors import DiskError
from tunefleet.base.paths import RunPaths
from tunefleet.contracts import Group, RunState
from tunefleet.launch import rank_signals
from tunefleet.launch.signals import CAUSES, stop_signals
from tunefleet.train.deadline import Deadline
from tunefleet.train.early_stopping import EarlyStopping
from tunefleet.train.stop_reasons import Reason

__all__ = ["Reason", "Stop"]
_SIGNALS = {number: Reason[cause.name] for number, cause in CAUSES.items()}


class Stop:
    """Watches for reasons to stop, a `deadline` among them. Signals only set a flag: saving is collective.

    The run's rung is read once, here: a sweep that moves it starts the run again. Raises `RunError` for a damaged one.
    """

    def __init__(
        self,
        total_steps: int,
        run: RunPaths,
        group: Group,
        early_stopping: EarlyStopping | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self._total = total_steps
        self._run = run
        self._group = group
        self._early_stopping = early_stopping
        self._deadline = deadline
        self._rung = sweep_requests.rung(run)
        self._signalled = Reason.CONTINUE
        self.disk_error: DiskError | None = None
        """The first that this rank met, and went on to the end of its step."""
        for number in stop_signals():
            signal.signal(number, self._flag)
        rank_signals.hold()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Within it this rank writes what others do not: where it cannot, all of them stop before the next step."""
        try:
            yield
        except DiskError as error:
            self.disk_error = self.disk_error or error
            self._signalled = Reason.DISK

    def reason(self, state: RunState) -> Reason:
        """Why to stop before the next step. Collective: every rank must call it at every step."""
        pulse.enter("agreeing")
        return Reason(self._group.agree(self._reason_here(state.step)))

    def is_requested(self) -> bool:
        """Whether a signal or the stop file asks the run to leave before the end of what it does. Collective."""
        return bool(self._group.agree(int(bool(self._signalled) or self._run.stop.exists())))

    def _reason_here(self, step: int) -> Reason:
        if self._signalled:
            return self._signalled
        if self._run.stop.exists():
            return Reason.STOP_FILE
        if step >= self._total:
            return Reason.COMPLETE
        if self._early_stopping and self._early_stopping.is_due:
            return Reason.NO_BETTER
        if self._deadline and self._deadline.is_near:
            return Reason.TIME_LIMIT
        if self._run.prune.exists():
            return Reason.PRUNED
        return Reason.RUNG if self._rung is not None and step >= self._rung else Reason.CONTINUE

    def _flag(self, number: int, frame: FrameType | None) -> None:
        self._signalled = max(self._signalled, _SIGNALS[signal.Signals(number)])
        if self._deadline:
            self._deadline.signalled()
