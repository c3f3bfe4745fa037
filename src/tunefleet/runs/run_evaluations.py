"""Evaluations of a run: on the cadence, made again where they were cut short, and the last one with all answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunefleet.base import pulse
from tunefleet.base.status import State
from tunefleet.contracts import Engine, RunState
from tunefleet.engine.group import DataParallelGroup, ProcessGroup
from tunefleet.evaluation.interruption import CutShort
from tunefleet.plan.paths import validation_splits
from tunefleet.plan.plan import Plan
from tunefleet.runs import final_report, run_summary, validation
from tunefleet.runs.deciding_metrics import DecidingMetrics
from tunefleet.runs.inputs import RunInputs
from tunefleet.runs.run_output import RunOutput
from tunefleet.runs.training_clock import TrainingClock
from tunefleet.runs.validation import Sample
from tunefleet.tracking import metrics
from tunefleet.train.stop import Stop


class RunEvaluations:
    """Measures the engine as it is, for trackers, status.json and what `deciding` decides. Every act is collective."""

    def __init__(
        self,
        plan: Plan,
        group: ProcessGroup,
        inputs: RunInputs,
        engine: Engine,
        stop: Stop,
        clock: TrainingClock,
        deciding: DecidingMetrics,
        output: RunOutput,
    ) -> None:
        self._plan = plan
        self._group = group
        self._copies = DataParallelGroup(group, plan.layout)
        self._inputs = inputs
        self._engine = engine
        self._stop = stop
        self._clock = clock
        self._deciding = deciding
        self._output = output

    def evaluate(self, state: RunState) -> bool:
        """Whether the result is to be saved. Left at once where the run is to leave: it is made again then."""
        try:
            evaluation = self.measure(state)
        except CutShort:
            self._output.console.print_line(
                f"  evaluation of step {state.step}: left at once, and made again when the run resumes"
            )
            return False
        return self._deciding.is_to_be_saved(state.step, evaluation)

    def make_up(self, state: RunState) -> bool:
        """Evaluates where an earlier start left the evaluation on the cadence; whether the result is to be saved."""
        steps = self._inputs.horizon
        step, every = state.step, steps.evaluate_every.steps
        if not (0 < step < steps.total and every and step % every == 0 and self._inputs.data.validation):
            return False
        if not self.is_missing(state):
            self._deciding.catch_up(step)
            return False
        pulse.enter("hook evaluate")
        return self.evaluate(state)

    def is_missing(self, state: RunState) -> bool:
        """Whether metrics.jsonl has no evaluation of this step."""
        return bool(self._group.agree(int(self._output.is_written and not self._is_measured(state.step))))

    def measure(self, state: RunState) -> dict[str, float]:
        """What was measured, as `SPLIT/loss`. Raises `CutShort`, on all ranks, where the run is asked to leave."""
        parts = self._plan, self._engine, self._copies, self._inputs, self._expect_time
        record = validation.losses(*parts)
        samples: list[Sample] = []
        if validation_splits.answers_needed(self._plan.config):
            answered, samples = validation.of_answers(*parts)
            record |= answered
        with self._output.noting():
            self.log(state, record, samples)
        evaluation = run_summary.split_metrics(record)
        self._deciding.measured(state.step, evaluation)
        self._output.write_status(State.RUNNING, state, evaluation=evaluation)
        return evaluation

    def measure_at_end(self) -> tuple[dict[str, Any], list[Sample]]:
        """(record, answers) of all splits, those to test on among them; nothing cuts it short."""
        pulse.enter("evaluating")
        parts, splits = (self._plan, self._engine, self._copies, self._inputs), self._inputs.measured_at_end
        record = validation.losses(*parts, splits=splits)
        pulse.enter("generating")
        answered, samples = validation.of_answers(*parts, splits=splits)
        return record | answered, samples

    def log(self, state: RunState, record: dict[str, Any], samples: Sequence[Sample], **marks: bool) -> None:
        """Gives trackers what was measured at `state`. Raises `DiskError`."""
        axes = {
            "step": state.step,
            "epoch": round(state.step / self._inputs.horizon.steps_per_epoch, 6),
            "seconds": round(self._clock.seconds, 6),
            "tokens": state.tokens,
        }
        self._output.trackers.log({**axes, **marks, **record})
        self._output.trackers.samples(state.step, final_report.shown_samples(self._plan, samples))

    def _expect_time(self) -> None:
        """Raises `CutShort` where the run is asked to leave. Collective."""
        if self._stop.is_requested():
            raise CutShort

    def _is_measured(self, step: int) -> bool:
        return any(record["step"] == step for record in metrics.evaluations(self._plan.paths.metrics))
