"""Restarts on this machine: ranks that a fault from outside ended start again after a pause, never beside old ones."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from signal import Signals

from tunefleet.base import files, processes, status
from tunefleet.base.errors import INTERRUPTED
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import attempts, ending, local, requeue
from tunefleet.launch.attempts import Attempt
from tunefleet.launch.ending import Ending
from tunefleet.launch.local import Ranks
from tunefleet.launch.signals import CAUSES, caught
from tunefleet.plan.plan import Plan

FIRST_PAUSE = 10.0  # seconds before the first restart; each further one waits twice as long
LONGEST_PAUSE = 300.0  # seconds
ORPHANS_GRACE = 5.0  # seconds for what ranks have started to see that they are gone
_POLL = 0.1  # seconds


def run(plan: Plan) -> int:
    """Runs the plan in new processes, and again as `launch.restarts` allows; returns the exit code.

    Whether a run starts again is decided as for a SLURM job (`requeue.refusal`). Ctrl-C ends a pause too.
    """
    start = _Start(plan)
    with caught(start.signals.append):
        while True:
            ranks = start.attempt()
            outcome = ranks.outcome()
            if outcome is None or start.signals or not requeue.retryable(outcome.cause):
                return ranks.verdict()
            refusal = requeue.refusal(outcome.cause, start.done, plan.config.launch)
            if refusal:
                return ranks.verdict(f" ({refusal})" if plan.config.launch.restarts else "")
            if stopped := start.pause(ranks, outcome):
                return start.settle(stopped)


@dataclass
class _Start:
    """All attempts of one command. `signals` are those that came while no ranks were there to be told."""

    plan: Plan
    done: list[Attempt] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    key: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")

    def attempt(self) -> Ranks:
        """Starts the ranks once, and waits for them and for all that they have started."""
        opened = Attempt(self.key, "", time.time(), self._status().saved_step)
        self._record(opened)
        ranks = local.attempt(self.plan)
        outcome = ranks.outcome() or Ending(Cause.NONE, "")
        closed = replace(opened, last=self._status().saved_step, cause=outcome.cause, reason=outcome.reason)
        self._record(closed)
        self.done.append(closed)
        return ranks

    def pause(self, ranks: Ranks, outcome: Ending) -> Ending | None:
        """Waits before the next restart, when nothing is left of the ranks; returns why it is not to be, if so."""
        count, most = len(self.done), self.plan.config.launch.restarts
        seconds = min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE)
        reason = f"restart {count} of {most} in {seconds:.0f} s: {outcome.reason}"
        self._write(State.REQUEUED, outcome.cause, reason)
        print(f"tunefleet: {reason}", file=sys.stderr, flush=True)
        processes.end_sessions([process.pid for process in ranks.processes], ORPHANS_GRACE)
        deadline = time.monotonic() + seconds
        while not (request := self._request()) and time.monotonic() < deadline:
            with suppress(OSError):
                files.touch(self.plan.paths.heartbeat)  # this process is the run's sign of life
            time.sleep(_POLL)
        if not request:
            self._write(State.STARTING, Cause.NONE, "")
        return request

    def settle(self, outcome: Ending) -> int:
        """The final state of a run that was to start again, and is not to any more; returns the exit code."""
        step = self._status().saved_step
        status.write(self.plan.paths.status, outcome.final_status(self._status()))
        print(f"tunefleet: {outcome.state.value} before the restart; the same command resumes from step {step}.")
        return INTERRUPTED

    def _request(self) -> Ending | None:
        """The user's request that it ends: Ctrl-C, `tunefleet cancel`, the file `stop`."""
        paths = self.plan.paths
        if paths.cancelled.exists():
            return ending.BY_USER
        if self.signals:
            return Ending(CAUSES[Signals(self.signals[0])], "")
        return Ending(Cause.STOP_FILE, "") if paths.stop.exists() else None

    def _status(self) -> Status:
        return status.read(self.plan.paths.status) or Status(State.STARTING)

    def _write(self, state: State, cause: Cause, reason: str) -> None:
        changed = self._status().moved(state=state, cause=cause, reason=reason, restarts=len(self.done))
        status.write(self.plan.paths.status, changed)

    def _record(self, attempt: Attempt) -> None:
        """For whoever reads it later: a disk that is full must not end the run."""
        with suppress(OSError):
            attempts.write(self.plan.paths, attempt)
