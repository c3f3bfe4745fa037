"""A small real run in ranks of its own, as a user starts it, to which something is done while it trains."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.stories.commands import SMALL, start, status
from tunefleet.base import processes, pulse
from tunefleet.base.pulse import Pulse

SETTINGS = (
    *SMALL,
    "name=run",
    "train.max_steps=100000",
    "train.sequence_length=64",
    "train.micro_batch=1",
    "launch.processes=2",
    "evaluation.every=0",
    "evaluation.generate_rows=0",
)


class LiveRun:
    """A run that trains in `folder`: its launcher, and every state that its status.json had since."""

    def __init__(self, folder: Path, *settings: str, launcher: Sequence[str] | None = None) -> None:
        self.folder, self.path = folder, folder / "outputs" / "run"
        started = {"launcher": launcher} if launcher else {}
        self.process: subprocess.Popen[bytes] = start(folder, *SETTINGS, *settings, **started)
        self.states: list[tuple[str, str]] = []
        self.notes: set[str] = set()

    def until(self, condition: Callable[[], Any], seconds: float = 300) -> None:
        """Waits, and reads the status meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            self.look()
            time.sleep(0.05)

    def until_step(self, step: int) -> None:
        """Waits for a step of this start."""
        self.until(lambda: all(rank.training and rank.step >= step for rank in self.pulses()))

    def ended(self, seconds: float = 120) -> int:
        """The exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, (self.output(), self.states)
            self.look()
            time.sleep(0.05)
        self.look()
        return self.process.returncode

    def look(self) -> None:
        """Notes the state."""
        if (self.path / "status.json").exists():
            record = status(self.path)
            self.notes.add(record["note"])
            if [record["state"]] != [state for state, _ in self.states[-1:]]:
                self.states.append((record["state"], record["reason"]))

    def pulses(self) -> list[Pulse]:
        """Those of both ranks; none while one is missing."""
        both = [pulse.read(self.path / "logs" / f"rank{rank}.pulse.json") for rank in (0, 1)]
        ranks = [rank for rank in both if rank]
        return ranks if len(ranks) == 2 else [Pulse(0, "", 0, 0)]

    def send(self, rank: int, number: int) -> None:
        """To one rank."""
        os.kill(self.pulses()[rank].pid, number)

    def output(self) -> str:
        """What was printed."""
        return (self.folder / "output.txt").read_text()

    def end(self) -> None:
        """Kills what a test has left."""
        for rank in self.pulses():
            if processes.is_alive(rank.pid, rank.born) and rank.pid:
                os.kill(rank.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def is_over(self) -> bool:
        """Whether no rank is left."""
        return not any(processes.is_alive(rank.pid, rank.born) for rank in self.pulses())


Begin = Callable[..., LiveRun]
"""What the fixture `begin` is: starts a run with more settings in the test's folder; it does not outlive the test."""
