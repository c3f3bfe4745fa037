"""Is a step a spike that stands far above the last ones, and the same one after a resume?"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tunefleet.contracts import Refusal, RunState, StepResult
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.train.spikes import Spikes

WINDOW = 16


def step(loss: float, norm: float = 1.0, refusal: Refusal | None = None) -> StepResult:
    return StepResult(loss, norm, 1e-3, 100, 40, refusal is not None, 1.0, refusal)


def noise(count: int) -> list[float]:
    draws = random.Random(3)
    return [2 + draws.uniform(-0.1, 0.1) for _ in range(count)]


def after(losses: Sequence[float], sigma: float | None = 6.0) -> tuple[Spikes, RunState]:
    spikes, state = Spikes(sigma, WINDOW, SingleProcess()), RunState()
    for loss in losses:
        state = spikes.remember(state, step(loss, loss / 2))
    return spikes, state


def test_far_above_the_mean_is_a_spike_of_the_loss_or_of_the_norm() -> None:
    spikes, _ = after(noise(WINDOW))
    assert spikes.refusal(2.1, 1.0) is None
    assert spikes.refusal(0.1, 0.1) is None  # below it is none
    for numbers, name in (((5.0, 1.0), "loss"), ((2.0, 3.0), "gradient norm")):
        refusal = spikes.refusal(*numbers)
        assert refusal
        assert refusal.is_spike
        assert refusal.reason.startswith(f"the {name} spiked to ")


def test_control_without_the_setting_nothing_is_a_spike() -> None:
    spikes, state = after(noise(WINDOW), sigma=None)
    assert spikes.refusal(1e9, 1e9) is None
    assert state.recent == ()


def test_too_few_steps_are_no_measure() -> None:
    assert after(noise(WINDOW // 2 - 1))[0].refusal(1e9, 1e9) is None
    assert after(noise(WINDOW // 2))[0].refusal(1e9, 1e9) is not None


def test_a_refused_step_is_no_measure_for_the_next_one() -> None:
    spikes, state = after(noise(WINDOW))
    assert spikes.remember(state, step(50.0, refusal=Refusal("spiked"))) == state


def test_a_run_that_resumes_finds_the_same_spikes() -> None:
    spikes, state = after(noise(3 * WINDOW))
    resumed = Spikes(6.0, WINDOW, SingleProcess())
    resumed.resume(state)
    assert len(state.recent) == WINDOW
    for loss in (2.1, 2.3, 2.35, 2.4, 2.6):
        assert resumed.refusal(loss, 1.0) == spikes.refusal(loss, 1.0)


@pytest.mark.parametrize(("loss", "is_spike"), [(2.0, False), (2.0001, True)])
def test_above_steps_that_were_all_alike_everything_is_a_spike(loss: float, is_spike: bool) -> None:
    spikes, _ = after([2.0] * WINDOW)
    assert bool(spikes.refusal(loss, 1.0)) is is_spike
