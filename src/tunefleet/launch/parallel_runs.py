"""Parallel runs: keeps every slot busy, lets none that fails stop the others, and ends all when asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tunefleet.base import files
from tunefleet.base.errors import INTERRUPTED
from tunefleet.launch.signals import caught
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.slots import Share

POINT_MODULE = "tunefleet.doors.grid_worker"
POLL = 0.1


class Point(Protocol):
    """A run that waits for its slot."""

    @property
    def plan(self) -> Plan:
        """What is to be run."""

    def ready(self) -> bool:
        """Called before its start: saves the plan, or reports that there is nothing to start."""

    def started(self) -> None:
        """Its process is there."""

    def ended(self, code: int) -> None:
        """Its process left with `code`."""


def run(points: Sequence[Point], share: Share) -> bool:
    """Runs the points and waits; returns whether the user interrupted. Ctrl-C lets all running ones save."""
    row = _Row(share, deque(points))
    with caught(row.note_signal):
        row.run()
    return bool(row.signals)


@dataclass
class _Running:
    point: Point
    slot: int
    process: subprocess.Popen[bytes]


@dataclass
class _Row:
    """`signals` are the signals that came, SIGINT or SIGTERM; the running processes know of the first `passed_on`."""

    share: Share
    waiting: deque[Point]
    running: list[_Running] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    passed_on: int = 0

    def run(self) -> None:
        """Until nothing runs, and nothing is to be started."""
        self._fill()
        while self.running:
            time.sleep(POLL)
            self._pass_on()
            self._collect()
            self._fill()

    def note_signal(self, number: int) -> None:
        """Ctrl-C and SIGTERM are only written down: the loop passes them on."""
        self.signals.append(number)

    def _fill(self) -> None:
        """Starts points until no slot is free."""
        while self.waiting and not self.signals and len(self.running) < self.share.slots:
            point = self.waiting.popleft()
            if point.ready():
                slot = min(set(range(self.share.slots)) - {run.slot for run in self.running})
                self.running.append(_Running(point, slot, start_process(point.plan, self.share, slot)))
                point.started()

    def _collect(self) -> None:
        """Frees the slots of those that have ended."""
        for run in [run for run in self.running if run.process.poll() is not None]:
            self.running.remove(run)
            run.point.ended(self._code(run.process.returncode))

    def _pass_on(self) -> None:
        """The first signal asks every run to save and stop; at the second each kills its ranks."""
        if self.passed_on < len(self.signals):
            self.passed_on += 1
            if self.passed_on == 1:
                print("\ntunefleet: all points save, then stop; once more to stop at once.", file=sys.stderr)
            for run in self.running:
                run.process.send_signal(self.signals[self.passed_on - 1])

    def _code(self, code: int) -> int:
        """A run that we ended before it could listen was interrupted too."""
        return INTERRUPTED if code < 0 and self.signals else code


def start_process(plan: Plan, share: Share, slot: int) -> subprocess.Popen[bytes]:
    """Starts the launcher of a saved plan. A session of its own keeps the terminal's Ctrl-C for us; its output joins
    that of earlier starts.
    """
    plan.paths.console.parent.mkdir(parents=True, exist_ok=True)
    settings = {"TUNEFLEET_LAUNCHER_PID": str(os.getpid()), **share.environment(slot)}
    with open(plan.paths.console, "ab", opener=files.no_link) as console:
        return subprocess.Popen(
            [sys.executable, "-m", POINT_MODULE, plan.run_dir],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
