"""Does the loop step, count, act and stop in this order, and only as often as it should?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tunefleet.base.errors import NonFiniteLoss
from tunefleet.contracts import MicroBatch, RunState, StepResult, UpdateRule
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.train.loop import fit
from tunefleet.train.spikes import Spikes
from tunefleet.train.stop import Reason


class Trace:
    """Engine, batches, reasons to stop and hooks in one, with a line for each call."""

    def __init__(self, last: int, fails_at: int = -1) -> None:
        self.calls: list[str] = []
        self.last = last
        self.fails_at = fails_at
        self.steps = 0

    @property
    def position(self) -> int:
        return 10 * self.steps

    def reason(self, state: RunState) -> Reason:
        self.calls.append(f"stop after {state.step}?")
        return Reason.COMPLETE if state.step >= self.last else Reason.CONTINUE

    def take(self, count: int) -> Sequence[MicroBatch]:
        self.calls.append(f"take {count}")
        return []

    def train_step(self, micro_batches: Sequence[MicroBatch], rule: UpdateRule) -> StepResult:
        assert rule(1.0, 1.0) is None
        self.steps += 1
        self.calls.append("step")
        return StepResult(1.0, 1.0, 1e-3, 100, 40, skipped=self.steps == 1, seconds=1.0)

    def settle(self, state: RunState, result: StepResult) -> None:
        if state.step - 1 == self.fails_at:
            raise NonFiniteLoss("loss")

    def run(self, state: RunState, result: StepResult) -> None:
        self.calls.append(f"hooks of step {state.step} at {state.position}")


def trained(trace: Any, state: RunState) -> tuple[RunState, Reason]:
    return fit(trace, trace, 3, state, trace, trace, Spikes(None, 128, SingleProcess()), trace)


def test_a_step_is_taken_counted_and_acted_on_before_the_next_question() -> None:
    trace = Trace(last=2)
    assert trained(trace, RunState(step=1))[1] is Reason.COMPLETE
    assert trace.calls == ["stop after 1?", "take 3", "step", "hooks of step 2 at 10", "stop after 2?"]


def test_the_state_adds_up_what_the_steps_were() -> None:
    state, _ = trained(Trace(last=3), RunState())
    assert (state.step, state.position, state.tokens, state.skipped) == (3, 30, 300, 1)


def test_a_run_that_is_complete_trains_no_step() -> None:
    trace = Trace(last=5)
    assert trained(trace, RunState(step=5)) == (RunState(step=5), Reason.COMPLETE)
    assert trace.calls == ["stop after 5?"]


def test_an_error_of_a_step_ends_the_loop_without_its_hooks() -> None:
    trace = Trace(last=5, fails_at=1)
    with pytest.raises(NonFiniteLoss):
        trained(trace, RunState())
    assert trace.calls[-4:] == ["hooks of step 1 at 10", "stop after 1?", "take 3", "step"]


class Slow(Trace):
    """Data come after 50 ms, hooks take 200 ms."""

    results: list[StepResult]

    def take(self, count: int) -> Sequence[MicroBatch]:
        time.sleep(0.05)
        return super().take(count)

    def train_step(self, micro_batches: Sequence[MicroBatch], rule: UpdateRule) -> StepResult:
        return replace(super().train_step(micro_batches, rule), seconds=0.0)

    def run(self, state: RunState, result: StepResult) -> None:
        self.results = [*getattr(self, "results", []), result]
        time.sleep(0.2)


def test_the_pace_counts_waiting_for_data_and_no_evaluation() -> None:
    slow = Slow(last=3)
    trained(slow, RunState())
    for result in slow.results:
        assert 0.05 <= result.wall_seconds < 0.2
        assert result.tokens_per_second == pytest.approx(100 / result.wall_seconds)
