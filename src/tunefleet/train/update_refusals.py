"""Refusals: what a run does where an update was refused: it stops, skips the step, or goes back before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunefleet.base.errors import LossSpike, NonFiniteLoss
from tunefleet.config.train import OnRefusal, Precision, TrainConfig
from tunefleet.contracts import Refusal, RunState, StepResult


@dataclass(frozen=True)
class RefusedStep:
    """A step whose update was refused, the `position` of its first sequence, and what follows."""

    step: int
    position: int
    refusal: Refusal
    result: StepResult
    act: OnRefusal


class Rewind(Exception):
    """The run must go back to its last checkpoint, and leave out the sequences of `step` from then on.

    `refused` are the updates that were refused so far.
    """

    def __init__(self, step: RefusedStep, refused: int) -> None:
        self.step = step
        self.refused = refused
        super().__init__(f"back before step {step.step}")


class Refusals:
    """The policies of `train.on_non_finite` and `train.on_spike`, bounded by `train.skip_budget`.

    `record` is called with every refused step, on all ranks, before anything follows; a step takes `sequences`.
    """

    def __init__(self, config: TrainConfig, sequences: int, record: Callable[[RefusedStep], None]) -> None:
        self._config = config
        self._sequences = sequences
        self._record = record

    def settle(self, state: RunState, result: StepResult) -> None:
        """What follows the step that led to `state`; nothing where its update was applied, or is to be skipped.

        Raises `NonFiniteLoss` or `LossSpike` where the run must stop, `Rewind` where it must go back.
        """
        refusal = result.refusal
        if refusal is None:
            return
        policy = self._config.on_spike if refusal.is_spike else self._config.on_non_finite
        spent = state.refused > self._config.skip_budget
        act = OnRefusal.STOP if spent else policy
        step = RefusedStep(state.step, state.position - self._sequences, refusal, result, act)
        self._record(step)
        if act is OnRefusal.STOP:
            kind = LossSpike if refusal.is_spike else NonFiniteLoss
            raise kind(self._message(step, policy, spent))
        if act is OnRefusal.REWIND:
            raise Rewind(step, state.refused)

    def _message(self, step: RefusedStep, policy: OnRefusal, spent: bool) -> str:
        setting = "train.on_spike" if step.refusal.is_spike else "train.on_non_finite"
        budget = f" {setting}={policy.value} has used up train.skip_budget={self._config.skip_budget}." * spent
        wider = ", take train.precision=bf16" * (self._config.precision is Precision.FP16)
        more = "" if spent else f", or go on without it: {setting}=skip"
        return (
            f"{step.refusal.reason} at step {step.step}, and the weights are as they were before it.{budget} "
            f"The last checkpoint is from before it. batches.jsonl names the rows of that step: look at them, lower "
            f"optimizer.lr, lengthen schedule.warmup{wider}{more}."
        )
