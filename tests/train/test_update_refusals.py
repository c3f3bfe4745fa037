"""Does a refused update end the run, get skipped or send it back, as its policy says, and only as often as it may?"""

from __future__ import annotations

import pytest

from tunefleet.base.errors import LossSpike, NonFiniteLoss
from tunefleet.config.train import OnRefusal, Precision, TrainConfig
from tunefleet.contracts import Refusal, RunState, StepResult
from tunefleet.train.update_refusals import Refusals, RefusedStep, Rewind

NAN = Refusal("the loss became nan")
SPIKE = Refusal("the loss spiked to 9", is_spike=True)


def result(refusal: Refusal | None) -> StepResult:
    return StepResult(1.0, 1.0, 1e-3, 100, 40, refusal is not None, 1.0, refusal)


def settle(config: TrainConfig, refusal: Refusal | None, refused: int = 1) -> list[RefusedStep]:
    """Settles step 7, whose four sequences began at position 24; the steps that were recorded."""
    recorded: list[RefusedStep] = []
    state = RunState(step=7, position=28, refused=refused)
    Refusals(config, 4, recorded.append).settle(state, result(refusal))
    return recorded


def test_an_applied_update_is_left_alone() -> None:
    assert settle(TrainConfig(), None) == []


def test_a_nan_stops_the_run_with_its_step() -> None:
    with pytest.raises(NonFiniteLoss, match=r"nan at step 7, .*, or go on without it: train.on_non_finite"):
        settle(TrainConfig(), NAN)


def test_fp16_is_offered_a_dtype_of_larger_numbers() -> None:
    with pytest.raises(NonFiniteLoss, match=r"take train.precision=bf16"):
        settle(TrainConfig(precision=Precision.FP16), NAN)
    with pytest.raises(NonFiniteLoss, match=r"lengthen schedule.warmup, or go on"):
        settle(TrainConfig(precision=Precision.BF16), NAN)


def test_a_skipped_step_is_recorded_with_its_sequences() -> None:
    [step] = settle(TrainConfig(on_non_finite=OnRefusal.SKIP), NAN)
    assert (step.step, step.position, step.act) == (7, 24, OnRefusal.SKIP)


def test_a_rewind_names_the_step_that_is_left_out() -> None:
    with pytest.raises(Rewind) as raised:
        settle(TrainConfig(on_non_finite=OnRefusal.REWIND), NAN, refused=3)
    assert (raised.value.step.position, raised.value.refused) == (24, 3)


@pytest.mark.parametrize("policy", [OnRefusal.SKIP, OnRefusal.REWIND])
def test_what_is_more_than_the_budget_stops_the_run(policy: OnRefusal) -> None:
    config = TrainConfig(on_non_finite=policy, skip_budget=2)
    with pytest.raises(NonFiniteLoss, match=f"train.on_non_finite={policy.value} has used up train.skip_budget=2"):
        settle(config, NAN, refused=3)


def test_a_spike_has_a_policy_and_a_cause_of_its_own() -> None:
    [step] = settle(TrainConfig(), SPIKE)
    assert step.act is OnRefusal.SKIP
    with pytest.raises(LossSpike, match="skip"):
        settle(TrainConfig(on_spike=OnRefusal.STOP), SPIKE)
