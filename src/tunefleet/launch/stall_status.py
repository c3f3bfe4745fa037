"""Stall in status.json: written when no rank has got on for a while, taken back when one does."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import replace

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State
from tunefleet.launch import hang_record
from tunefleet.launch.ending import Ending
from tunefleet.launch.hang_watch import View

_EVERY = 60.0  # seconds


class Stall:
    """Of one run, as one process shows it."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._earlier: State | None = None
        self._note = self._reason = ""
        self._written = 0.0

    @property
    def is_shown(self) -> bool:
        """Whether it has written that the run is stalled, and not taken it back."""
        return self._earlier is not None

    def show(self, view: View) -> None:
        """Writes `stalled` with the reason, the earlier state once the run gets on again, and which rank is slow."""
        if view.stalled:
            self._stalled(hang_record.message(view, socket.gethostname()))
        elif self._earlier:
            self._change(self._earlier, "")
            self._earlier, self._reason = None, ""
        note = "; ".join(f"rank {rank} {reason}" for rank, reason in sorted(view.slow.items()))
        if self._kind(note) != self._kind(self._note):
            self._show_note(note)

    def _stalled(self, reason: str) -> None:
        """Once, when somebody else is to blame, and every minute."""
        is_old = time.monotonic() - self._written > _EVERY
        if is_old or self._kind(reason) != self._kind(self._reason):
            self._change(State.STALLED, reason)
            self._written, self._reason = time.monotonic(), reason

    def settle(self, reason: str) -> None:
        """The final state of a run that hangs."""
        with status.UPDATES:
            current = status.read(self._paths.status)
            if current and not current.state.final:
                status.write(self._paths.status, Ending(Cause.HANG, reason).final_status(current))

    def _change(self, state: State, reason: str) -> None:
        """The process number that stands there stays: it is by its own that a run is found alive."""
        with status.UPDATES:
            current = status.read(self._paths.status)
            if current is None or not current.state.alive:
                return
            if State.STALLED not in (state, current.state):
                return
            if current.state is not State.STALLED:
                self._earlier = current.state
                print(f"\ntunefleet: {reason}", file=sys.stderr, flush=True)
            status.write(self._paths.status, replace(current, state=state, reason=reason, updated=time.time()))

    def _show_note(self, note: str) -> None:
        self._note = note
        if note:
            print(f"\ntunefleet: note: {note}", file=sys.stderr, flush=True)
        with status.UPDATES:
            current = status.read(self._paths.status)
            if current and current.state.alive:
                status.write(self._paths.status, replace(current, note=note))

    @staticmethod
    def _kind(note: str) -> str:
        """The note without its numbers, which change all the time."""
        return "".join(letter for letter in note if letter.isalpha())
