"""Step log: what the console, the trackers and status.json get of every step, and the last state that it holds."""

from __future__ import annotations

import math

from tunefleet.base.status import State
from tunefleet.contracts import RunState, StepResult
from tunefleet.plan.plan import Plan
from tunefleet.runs.efficiency import Efficiency
from tunefleet.runs.run_output import RunOutput
from tunefleet.runs.step_record import step_record
from tunefleet.runs.training_clock import TrainingClock
from tunefleet.train.deadline import Deadline


class StepLog:
    """`state` is that after the last step, `clock` counts the seconds of all; `deadline` learns how long one takes."""

    def __init__(
        self,
        plan: Plan,
        state: RunState,
        steps_per_epoch: float,
        clock: TrainingClock,
        deadline: Deadline,
        efficiency: Efficiency,
        output: RunOutput,
    ) -> None:
        self._plan = plan
        self.state = state
        self._steps_per_epoch = steps_per_epoch
        self._clock = clock
        self._deadline = deadline
        self._efficiency = efficiency
        self._output = output
        self._unlogged: tuple[RunState, StepResult] | None = None

    def remember(self, state: RunState, result: StepResult) -> None:
        """Takes every step; one whose update was refused is logged whatever the cadence is."""
        self.state = state
        self._clock.add(result)
        self._deadline.step_seconds = result.seconds
        self._unlogged = (state, result)
        if result.refusal:
            self.log(state, result)
            left_out = f"left out, {state.refused} of at most {self._plan.config.train.skip_budget} (batches.jsonl)"
            self._output.console.print_line(f"  step {state.step}: {result.refusal.reason}: its update is {left_out}")

    def log_last(self) -> None:
        """The last step has a record too, whatever `tracking.log_every` and however the run ends."""
        if self._unlogged:
            self.log(*self._unlogged)

    def log(self, state: RunState, result: StepResult) -> None:
        """Logs a step, once."""
        if not self._unlogged:
            return
        self._unlogged = None
        with self._output.noting():
            record = step_record(self._plan, state, result, self._steps_per_epoch, self._clock.seconds)
            self._output.trackers.log({**record, **self._efficiency.mfu(result)})
        self._output.write_status(
            State.RUNNING,
            state,
            **({"loss": result.loss} if math.isfinite(result.loss) else {}),
            tokens_per_second=result.tokens_per_second,
            seconds_left=self._output.console.seconds_left(state.step),
        )
