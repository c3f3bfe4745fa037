"""Status writer: what rank 0 writes into status.json while the run trains, with its time in all starts together."""

from __future__ import annotations

import time
from typing import Any

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.contracts import RunState


class StatusWriter:
    """Writes where the run stands; `began` is this start's time on `time.perf_counter`. Other ranks have none."""

    def __init__(self, run: RunPaths, total_steps: int, began: float) -> None:
        self._path = run.status
        self._total = total_steps
        earlier = status.read(self._path)
        self._began = began - (earlier.seconds if earlier else 0.0)

    def write(self, state: State, run_state: RunState, **changes: Any) -> None:
        """Replaces the status; what is not in `changes`, as the last loss, stays."""
        fixed = {
            "step": run_state.step,
            "tokens": run_state.tokens,
            "refused": run_state.refused,
            "total_steps": self._total,
            "seconds": time.perf_counter() - self._began,
            "reason": "",
            "cause": Cause.NONE,
        }
        with status.UPDATES:
            if state.final:
                fixed["note"] = ""
            current = status.read(self._path) or Status(state)
            status.write(self._path, current.moved(state=state, **{**fixed, **changes}))
