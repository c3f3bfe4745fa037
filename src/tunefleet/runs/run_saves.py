"""Saves of a run: at once or beside the next steps, with what status.json says of them and how long they took."""

from __future__ import annotations

import time
from collections.abc import Callable

from tunefleet.base import progress, pulse, status
from tunefleet.base.status import State
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import Engine, RunState, StepResult
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_output import RunOutput
from tunefleet.train.deadline import Deadline


class RunSaves:
    """`saved_step` is that of the newest checkpoint that counts, -1 where there is none. Every act is collective.

    `deadline` learns how long a save takes; `best` tells which of the checkpoints is the best.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        store: CheckpointStore,
        deadline: Deadline,
        output: RunOutput,
        best: Callable[[], dict[str, float]],
        saved_step: int,
    ) -> None:
        self._config = plan.config
        self._engine = engine
        self._store = store
        self._deadline = deadline
        self._output = output
        self._best = best
        self.saved_step = saved_step
        self._began = time.perf_counter()
        previous = status.read(plan.paths.status)
        deadline.save_seconds = previous.save_seconds if previous else 0.0

    def save(self, state: RunState) -> None:
        """Saves, and is over when the checkpoint counts."""
        pulse.enter("saving")
        self._output.write_status(State.CHECKPOINTING, state)
        began = time.perf_counter()
        if self._config.train.check_replicas:
            self._engine.expect_equal_replicas()  # what has drifted must not become a checkpoint
        with progress.during(f"saving step {state.step}"):
            self._store.save(self._engine, state)
        if self.saved_step != state.step:  # else there was nothing to write
            self._count(state.step, began)
        self._write_status(state)

    def save_beside(self, state: RunState) -> None:
        """Saves; with `checkpoint.asynchronous` a copy that is written beside the next steps."""
        if not self._config.checkpoint.asynchronous:
            return self.save(state)
        pulse.enter("saving")
        self.finish_background(state)
        self._began = time.perf_counter()
        return self._store.save_beside(self._engine, state)

    def commit(self, state: RunState, result: StepResult) -> None:
        """Between two steps: a save beside them that is over counts from now on."""
        self._note(self._store.advance(), state)

    def finish_background(self, state: RunState) -> None:
        """Waits for a save beside the steps, where there is one."""
        self._note(self._store.advance(wait=True), state)

    def _note(self, step: int | None, state: RunState) -> None:
        """Writes down that the checkpoint of `step` counts."""
        if step is not None:
            self._count(step, self._began)
            self._write_status(state)

    def _count(self, step: int, began: float) -> None:
        self._deadline.save_seconds, self.saved_step = time.perf_counter() - began, step

    def _write_status(self, state: RunState) -> None:
        saved = {"saved_step": self.saved_step, "save_seconds": self._deadline.save_seconds}
        self._output.write_status(State.RUNNING, state, **saved, best=self._best())
