"""Is the learning rate of every step what its shape says?"""

from __future__ import annotations

import itertools
import math

import pytest

from tunefleet.config.optimizer import ScheduleConfig, ScheduleName
from tunefleet.optim.schedules import learning_rate

PEAK = 3e-4
SHAPES = tuple(ScheduleName)
FALLING = (ScheduleName.COSINE, ScheduleName.LINEAR, ScheduleName.POLYNOMIAL)
ENDING = (*FALLING, ScheduleName.WSD)  # at the floor after the last step


def rates(
    name: ScheduleName, total: int, warmup: int, floor: float = 0.0, decay: int = 7, power: float = 2.0
) -> list[float]:
    config = ScheduleConfig(name=name, floor=floor, power=power)
    return [learning_rate(config, PEAK, step, total, warmup, decay) for step in range(total)]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("warmup", [1, 2, 10, 100])
def test_warm_up_rises_in_equal_steps_to_the_peak(name: ScheduleName, warmup: int) -> None:
    lrs = rates(name, 200, warmup)
    assert lrs[0] == pytest.approx(PEAK / warmup)
    assert lrs[:warmup] == pytest.approx([PEAK * (step + 1) / warmup for step in range(warmup)])
    assert max(lrs) == lrs[warmup - 1] == PEAK


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("warmup", [0, 1, 99])
def test_the_floor_comes_after_the_last_step(name: ScheduleName, floor: float, warmup: int) -> None:
    config = ScheduleConfig(name=name, floor=floor)
    after, last = (learning_rate(config, PEAK, step, 100, warmup, 7) for step in (100, 99))
    assert after == pytest.approx(floor * PEAK, abs=1e-18)
    assert last > after or floor == 1.0


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("total", [1, 2, 3, 10])
def test_every_step_trains(name: ScheduleName, total: int) -> None:
    """With any warm-up and any final decay; the smallest is that of a long polynomial, (1 / 10) ** 2."""
    for warmup, decay in itertools.product({0, 1, 2, total // 2, total - 1, total}, {0, 1, total // 2, total}):
        lrs = rates(name, total, min(warmup, total), decay=decay)
        assert min(lrs) > 0.99 * PEAK / total**2, (warmup, decay, lrs)
        assert max(lrs) == PEAK


@pytest.mark.parametrize("name", SHAPES)
def test_a_zero_that_was_asked_for_stays(name: ScheduleName) -> None:
    """The control: who steps on after the end of a schedule without a floor trains nothing."""
    lrs = learning_rate(ScheduleConfig(name=name), PEAK, 10, 10, 2, 5)
    assert (lrs == pytest.approx(0.0, abs=1e-18)) is (name in ENDING)


@pytest.mark.parametrize("name", FALLING)
@pytest.mark.parametrize(("total", "warmup"), [(50, 0), (50, 7), (1000, 30)])
def test_after_warm_up_it_only_falls(name: ScheduleName, total: int, warmup: int) -> None:
    lrs = rates(name, total, warmup, floor=0.1)[warmup:]
    assert all(a > b for a, b in itertools.pairwise(lrs))
    assert lrs[0] == PEAK
    assert min(lrs) > 0.1 * PEAK


def test_the_shapes_by_their_formulas() -> None:
    linear, cosine = (rates(name, 110, 10, floor=0.2) for name in (ScheduleName.LINEAR, ScheduleName.COSINE))
    for step in range(10, 110):
        done = (step - 10) / 100
        assert linear[step] == pytest.approx(PEAK * (0.2 + 0.8 * (1 - done)))
        assert cosine[step] == pytest.approx(PEAK * (0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * done))))
    assert linear[60] == pytest.approx(0.6 * PEAK)  # half way
    assert cosine[60] == pytest.approx(0.6 * PEAK)
    assert cosine[35] > linear[35]  # a quarter of the way cosine is still higher


def test_polynomial_by_its_formula() -> None:
    for step, rate in enumerate(rates(ScheduleName.POLYNOMIAL, 110, 10, floor=0.2, power=3.0)[10:], 10):
        assert rate == pytest.approx(PEAK * (0.2 + 0.8 * (1 - (step - 10) / 100) ** 3))
    linear, straight = (rates(name, 50, 5, power=1.0) for name in (ScheduleName.LINEAR, ScheduleName.POLYNOMIAL))
    assert straight == pytest.approx(linear)


def test_wsd_is_stable_and_falls_at_the_end() -> None:
    lrs = rates(ScheduleName.WSD, 100, 10, floor=0.2, decay=20)
    assert lrs[9:81] == [PEAK] * 72
    assert lrs[80:] == pytest.approx([PEAK * (1 - 0.8 * step / 20) for step in range(20)])
    assert rates(ScheduleName.WSD, 100, 10, decay=0)[-1] == PEAK
    assert rates(ScheduleName.WSD, 100, 90, decay=40)[90:] == pytest.approx([PEAK * (1 - s / 10) for s in range(10)])


def test_inverse_sqrt_at_known_steps() -> None:
    lrs = rates(ScheduleName.INVERSE_SQRT, 1000, 10)
    assert lrs[9] == PEAK
    assert lrs[39] == pytest.approx(PEAK / 2)  # the fortieth step: sqrt(10 / 40)
    assert lrs[999] == pytest.approx(PEAK / 10)
    assert rates(ScheduleName.INVERSE_SQRT, 1000, 10, floor=0.5)[999] == pytest.approx(PEAK * 0.55)
    assert rates(ScheduleName.INVERSE_SQRT, 5, 0)[:4] == pytest.approx(
        [PEAK, PEAK / math.sqrt(2), PEAK / math.sqrt(3), PEAK / 2]
    )


@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_constant_stays_at_the_peak(floor: float) -> None:
    assert rates(ScheduleName.CONSTANT, 20, 5, floor)[4:] == [PEAK] * 16


@pytest.mark.parametrize("name", SHAPES)
def test_warm_up_of_all_steps_ends_at_the_peak(name: ScheduleName) -> None:
    lrs = rates(name, 10, 10)
    assert lrs == pytest.approx([PEAK * (step + 1) / 10 for step in range(10)])


@pytest.mark.parametrize("name", SHAPES)
def test_the_only_step_is_at_the_peak(name: ScheduleName) -> None:
    assert rates(name, 1, 0) == rates(name, 1, 1) == [PEAK]


@pytest.mark.parametrize("name", [ScheduleName.CONSTANT, *ENDING])
@pytest.mark.parametrize("warmup", [0, 5, 10])
def test_beyond_the_end_it_stays_where_it_ended(name: ScheduleName, warmup: int) -> None:
    config = ScheduleConfig(name=name, floor=0.3)
    at_end = PEAK if name is ScheduleName.CONSTANT else 0.3 * PEAK
    assert learning_rate(config, PEAK, 15, 10, warmup, decay=5) == pytest.approx(at_end)


@pytest.mark.parametrize("name", SHAPES)
def test_it_scales_with_the_peak(name: ScheduleName) -> None:
    config = ScheduleConfig(name=name, floor=0.1)
    for step in (0, 3, 9):
        twice = learning_rate(config, 2 * PEAK, step, 10, 3)
        assert twice == pytest.approx(2 * learning_rate(config, PEAK, step, 10, 3))
