"""Point of a grid: whether it is to be started, what is printed about it meanwhile, and how it ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.base import files, status
from tunefleet.base.errors import DONE, FAILED, INTERRUPTED, RunError, exit_code_of
from tunefleet.base.status import Status
from tunefleet.base.units import clock
from tunefleet.plan import Plan
from tunefleet.tracking import metrics

HEAD = ("point", "state", "step", "loss", "validation", "run", "reason")


@dataclass
class Point:
    """The overrides that were typed, and their plan. `name` is what sets it apart from the other points.

    `is_done` says whether the run is finished already; it raises `RunError` where the directory is another run's.
    `code` is its exit code, None until it has ended. `state` and `reason` are what status.json cannot hold,
    because the run there is another one, or no process could write it.
    """

    number: str
    name: str
    overrides: Sequence[str]
    plan: Plan
    is_done: Callable[[Plan], bool]
    code: int | None = None
    state: str = ""
    reason: str = ""
    began: float = 0.0

    def withdrawn(self) -> bool:
        """Whether it was cancelled before its turn came; prints so."""
        if not self.plan.paths.cancelled.exists():
            return False
        self.code, self.state, self.reason = FAILED, "cancelled", "before its turn"
        self._print("cancelled before its turn")
        return True

    def ready(self) -> bool:
        """Saves the plan; not where the run is done or cancelled, or its directory is another run's."""
        if self.withdrawn():
            return False
        try:
            if not self.is_done(self.plan):
                self.plan.save()
                self.began = time.time()
                return True
            self.code = DONE
            self._print(f"done before{self._loss()}")
        except (RunError, OSError) as error:
            self.refuse(error)
            self._print(f"not started: {error}")
        return False

    def started(self) -> None:
        """Names the file that its output goes to."""
        self._print(f"started, writes to {os.path.relpath(self.plan.paths.console)}")

    def ended(self, code: int) -> None:
        """Says its state, last loss and seconds, and why it failed."""
        self.code = code
        run_status = self._status()
        if code not in (DONE, INTERRUPTED) and not (
            run_status and run_status.state.final and run_status.updated >= self.began
        ):
            self.state, self.reason = "failed", exit_reason(self.plan.paths.console, code)
        reason = f": {self._reason()}" if self._reason() else ""
        self._print(f"{self._state()}{self._loss()} after {clock(time.time() - self.began)}{reason}")

    def refuse(self, error: Exception) -> None:
        """Its directory cannot be used."""
        self.code, self.state, self.reason = exit_code_of(error), "not started", str(error)

    def row(self) -> Sequence[str]:
        """Its line of the table, under HEAD."""
        run_status = self._status()
        step = str(run_status.step if run_status else 0)
        losses = _number(run_status.loss if run_status else None), _number(self._validation(), none="")
        return (self.name or "-", self._state(), step, *losses, self.plan.name, self._reason())

    def _print(self, message: str) -> None:
        print(f"{self.number} {self.name or '-'}: {message}", flush=True)

    def _state(self) -> str:
        run_status = self._status()
        return self.state or (run_status.state.value if run_status else "not started")

    def _reason(self) -> str:
        run_status = self._status()
        return self.reason or (run_status.reason if run_status else "")

    def _status(self) -> Status | None:
        """Of this run: a directory that was refused holds another one's."""
        return None if self.state == "not started" else status.read(self.plan.paths.status)

    def _loss(self) -> str:
        run_status = self._status()
        return f", loss {run_status.loss:.4f}" if run_status and run_status.loss is not None else ""

    def _validation(self) -> float | None:
        """The loss on the first validation split after the last step."""
        logged = metrics.read(self.plan.paths.metrics) if self._status() else []
        final: dict[str, Any] = next((record for record in reversed(logged) if record.get("final")), {})
        losses = [value for key, value in final.items() if key.startswith("evaluation/") and key.endswith("/loss")]
        return losses[0] if losses else None


def exit_reason(console: Path, code: int) -> str:
    """Why a process ended with `code`: the signal that killed it, or the last line of its output."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    lines = files.read_text(console, "replace").split("\n")
    return next((line.removeprefix("tunefleet: ") for line in reversed(lines) if line.strip()), f"exit code {code}")


def _number(value: float | None, none: str = "-") -> str:
    return none if value is None else f"{value:.4f}"
