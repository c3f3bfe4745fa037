"""Output of a run: the console, the trackers and status.json of one rank, and what follows where they cannot write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tunefleet.base.status import State
from tunefleet.contracts import RunState
from tunefleet.plan.plan import Plan
from tunefleet.runs import step_order
from tunefleet.runs.run_trackers import trackers_of_rank
from tunefleet.runs.status_writer import StatusWriter
from tunefleet.tracking.console import Console


class RunOutput:
    """What rank 0 writes and prints from step `first_step` on; on other ranks nothing comes of it.

    Within `noting` a disk that takes no more stops all ranks before the next step, and raises nothing.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        total_steps: int,
        first_step: int,
        began: float,
        noting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._plan = plan
        self.is_written = rank == 0
        """Whether this rank is the one that writes."""
        self.noting = noting
        self.console = Console(self.is_written, total_steps, first_step, plan.paths.log(0))
        self.trackers = trackers_of_rank(plan, rank, self.console, first_step)
        self._status = StatusWriter(plan.paths, total_steps, began) if self.is_written else None

    def write_status(self, state: State, run_state: RunState, **changes: Any) -> None:
        """Writes where the run stands into status.json."""
        if self._status:
            with self.noting():
                self._status.write(state, run_state, **changes)

    def note_order(self, run_state: RunState) -> None:
        """Writes down which sequences the steps after `run_state` take, and by how many processes."""
        if self.is_written:
            with self.noting():
                step_order.begin(self._plan, run_state)
