"""When a run stops: complete, a signal, or the stop file; all ranks agree at a step boundary."""

from __future__ import annotations

import signal
from enum import IntEnum
from pathlib import Path
from types import FrameType

from tunefleet.plan.contracts import Group, RunState


class Reason(IntEnum):
    """Why a run stops; the largest of all ranks' reasons counts. GO_ON is none."""

    GO_ON = 0
    COMPLETE = 1
    STOP_FILE = 2
    SIGNAL = 3


class Stop:
    """Watches for reasons to stop. Signals only set a flag: saving is collective and needs every rank."""

    def __init__(self, total_steps: int, stop_file: Path, group: Group) -> None:
        self._total = total_steps
        self._file = stop_file
        self._group = group
        self._signalled = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._flag)

    def reason(self, state: RunState) -> Reason:
        """Why to stop before the next step. Collective: every rank must call it at every step."""
        return Reason(self._group.agree(self._own(state)))

    def _own(self, state: RunState) -> Reason:
        if self._signalled:
            return Reason.SIGNAL
        if self._file.exists():
            return Reason.STOP_FILE
        return Reason.COMPLETE if state.step >= self._total else Reason.GO_ON

    def _flag(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
