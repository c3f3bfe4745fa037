"""Which checkpoints go: never what is needed or the best, and no more than the settings say?"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tunefleet.checkpoint.retention import Retention, SavedCheckpoint, is_among_best, superfluous
from tunefleet.plan.horizon import Pace

HOUR = 3600.0


def saved(costs: dict[int, float | None], size: int = 10) -> list[SavedCheckpoint]:
    """A checkpoint an hour, ten steps each."""
    return [SavedCheckpoint(str(step), step, size, step / 10 * HOUR, cost) for step, cost in costs.items()]


def steps_left(checkpoints: Sequence[SavedCheckpoint], retention: Retention, needed: str) -> list[int]:
    names = superfluous(checkpoints, retention, {needed})
    return [checkpoint.step for checkpoint in checkpoints if checkpoint.name not in names]


UNMEASURED = dict.fromkeys(range(10, 101, 10))
FALLING_THEN_RISING = {step: abs(step - 40) / 10 for step in range(10, 101, 10)}


@pytest.mark.parametrize(
    ("retention", "remaining"),
    [
        (Retention(1), [100]),
        (Retention(3), [80, 90, 100]),
        (Retention(1, best=1), [40, 100]),
        (Retention(2, best=3), [30, 40, 50, 90, 100]),
        (Retention(1, milestones=Pace(steps=30)), [30, 60, 90, 100]),
        (Retention(1, milestones=Pace(steps=45)), [50, 90, 100]),
        (Retention(1, milestones=Pace(seconds=4 * HOUR)), [10, 50, 90, 100]),
        (Retention(5, budget=30), [90, 100]),  # and room for the next
        (Retention(5, best=1, budget=30), [40, 100]),
        (Retention(2, best=2, milestones=Pace(steps=30), budget=50), [40, 60, 90, 100]),
        (Retention(5, best=1, budget=5), [40, 100]),  # what must stay stays, whatever it takes
    ],
)
def test_what_stays(retention: Retention, remaining: list[int]) -> None:
    assert steps_left(saved(FALLING_THEN_RISING), retention, "100") == remaining


def test_without_a_metric_none_is_the_best() -> None:
    assert steps_left(saved(UNMEASURED), Retention(2, best=3), "100") == [90, 100]


def test_of_equal_ones_the_earlier_is_the_better() -> None:
    assert steps_left(saved({10: 1.0, 20: 0.5, 30: 0.5, 40: 2.0}), Retention(1, best=1), "40") == [20, 40]


def test_what_was_just_saved_stays_and_counts_although_there_are_higher_steps() -> None:
    assert steps_left(saved(UNMEASURED), Retention(2), "30") == [30, 100]
    assert steps_left(saved(UNMEASURED), Retention(1), "30") == [30]


def test_a_better_one_than_the_worst_that_stays_is_among_the_best() -> None:
    checkpoints = saved({10: 1.0, 20: 0.5})
    assert is_among_best(0.9, checkpoints, Retention(1, best=2))
    assert not is_among_best(1.0, checkpoints, Retention(1, best=2))
    assert is_among_best(9.0, checkpoints, Retention(1, best=3))
    assert not is_among_best(0.1, checkpoints, Retention(1))
    assert not is_among_best(None, checkpoints, Retention(1, best=3))


@pytest.mark.parametrize("seed", range(30))
def test_saved_one_after_another_the_best_and_the_milestones_of_all_are_there_at_the_end(seed: int) -> None:
    """As a run does it, which forgets what is gone: the same as if all had been there to choose from."""
    draw = random.Random(seed)
    retention = Retention(draw.randint(1, 3), draw.randint(0, 3), Pace(steps=draw.choice([0, 35, 70])))
    history = saved({step: draw.choice([None, draw.random()]) for step in range(10, 301, 10)})
    present: list[SavedCheckpoint] = []
    for checkpoint in history:
        present.append(checkpoint)
        gone = superfluous(present, retention, {checkpoint.name})
        present = [other for other in present if other.name not in gone]
    assert [checkpoint.step for checkpoint in present] == steps_left(history, retention, "300")


@pytest.mark.parametrize("seed", range(30))
def test_the_budget_holds_while_each_is_saved(seed: int) -> None:
    draw = random.Random(seed)
    retention = Retention(draw.randint(1, 9), draw.randint(0, 9), Pace(steps=draw.choice([0, 20])), budget=40)
    present: list[SavedCheckpoint] = []
    for checkpoint in saved({step: draw.random() for step in range(10, 301, 10)}):
        present.append(checkpoint)
        assert sum(other.size for other in present) <= 40
        gone = superfluous(present, retention, {checkpoint.name})
        present = [other for other in present if other.name not in gone]
        assert checkpoint in present
