"""Reasons to stop: complete, a signal, or the stop file; all ranks agree at a step boundary."""

from __future__ import annotations

import signal
from enum import IntEnum
from pathlib import Path
from types import FrameType

from tunefleet.base.status import Cause
from tunefleet.contracts import Group, RunState


class Reason(IntEnum):
    """Why a run stops; the largest of all ranks' reasons counts. CONTINUE is none.

    Ctrl-C is the user's alone, and a launcher that got it too may send SIGTERM after it: INTERRUPT is the largest.
    """

    CONTINUE = 0
    COMPLETE = 1
    STOP_FILE = 2
    TIME_LIMIT = 3
    TERMINATED = 4
    INTERRUPT = 5

    @property
    def cause(self) -> Cause:
        """The same, as status.json has it."""
        return Cause.NONE if self is Reason.COMPLETE else Cause[self.name]


_SIGNALS = {
    signal.SIGINT: Reason.INTERRUPT,
    signal.SIGUSR2: Reason.TIME_LIMIT,  # SLURM sends it some time before the limit: launch.signal_before
    signal.SIGTERM: Reason.TERMINATED,
}


class Stop:
    """Watches for reasons to stop. Signals only set a flag: saving is collective and needs every rank."""

    def __init__(self, total_steps: int, stop_file: Path, group: Group) -> None:
        self._total = total_steps
        self._file = stop_file
        self._group = group
        self._signalled = Reason.CONTINUE
        for number in _SIGNALS:
            signal.signal(number, self._flag)

    def reason(self, state: RunState) -> Reason:
        """Why to stop before the next step. Collective: every rank must call it at every step."""
        return Reason(self._group.agree(self._reason_here(state)))

    def _reason_here(self, state: RunState) -> Reason:
        if self._signalled:
            return self._signalled
        if self._file.exists():
            return Reason.STOP_FILE
        return Reason.COMPLETE if state.step >= self._total else Reason.CONTINUE

    def _flag(self, number: int, frame: FrameType | None) -> None:
        self._signalled = max(self._signalled, _SIGNALS[signal.Signals(number)])
