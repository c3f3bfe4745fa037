"""Do row statistics add up to each metric, and is the bootstrap as sure as the numbers allow?"""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from tunefleet.config.evaluation import MetricName
from tunefleet.evaluation.bootstrap import paired_bootstrap
from tunefleet.evaluation.metrics.answer_metrics import measured
from tunefleet.evaluation.metrics.row_statistics import ratio, row_statistics


def texts(metric: MetricName, count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    if metric is MetricName.LABELS:
        return [draw.choice("abcd") for _ in range(count)]
    if metric is MetricName.JSON:
        made = [{"a": draw.randrange(2), "b": [draw.randrange(3)]} for _ in range(count)]
        return [json.dumps(value) if draw.random() < 0.8 else "no" for value in made]
    return [" ".join(draw.choice(["the", "cat", "sat", "on", "mat", "dog"]) for _ in range(8)) for _ in range(count)]


@pytest.mark.parametrize("metric", MetricName)
def test_row_statistics_add_up_to_the_metric(metric: MetricName) -> None:
    """Of all rows, and of rows that are taken several times, as a sample takes them."""
    answers, references = texts(metric, 40, 1), texts(metric, 40, 2)
    references[:9] = answers[:9]
    statistics = row_statistics([metric], answers, references)
    assert {name: one.value for name, one in statistics.items()} == pytest.approx(
        measured([metric], answers, references)
    )
    drawn = [*range(40), *np.random.default_rng(0).integers(0, 40, 30).tolist()]
    expected = measured([metric], [answers[i] for i in drawn], [references[i] for i in drawn])
    for name, one in statistics.items():
        assert one.score(one.rows[drawn].sum(axis=0)) == pytest.approx(expected[name])


def test_a_mean_has_the_interval_of_its_standard_error() -> None:
    draw = np.random.default_rng(5)
    first, noise = draw.normal(size=400), draw.normal(0.1, 1.0, size=400)
    sides = [ratio(values.tolist(), [1.0] * 400) for values in (first, first + noise)]
    difference = paired_bootstrap(*sides, seed=1)
    error = noise.std() / 20
    assert difference.value == pytest.approx(noise.mean())
    assert difference.low == pytest.approx(noise.mean() - 1.96 * error, abs=0.2 * error)
    assert difference.high == pytest.approx(noise.mean() + 1.96 * error, abs=0.2 * error)


def test_pairs_are_drawn_together() -> None:
    """A constant difference is sure although rows differ by far more; unpaired draws would not see it (control)."""
    values = np.random.default_rng(2).normal(0, 50, size=200)
    first, second = ratio(values.tolist(), [1.0] * 200), ratio((values + 1).tolist(), [1.0] * 200)
    difference = paired_bootstrap(first, second, seed=0)
    assert (difference.low, difference.high) == pytest.approx((1, 1))
    assert (difference.higher, difference.is_sure) == (1.0, True)
    shuffled = ratio((np.random.default_rng(3).permutation(values) + 1).tolist(), [1.0] * 200)
    assert not paired_bootstrap(first, shuffled, seed=0).is_sure


def test_a_model_is_not_better_than_itself_and_a_seed_repeats_the_numbers() -> None:
    side = ratio([1, 0, 1, 1], [1, 1, 1, 1])
    same = paired_bootstrap(side, side, seed=3)
    assert (same.low, same.high, same.higher, same.is_sure) == (0, 0, 0.5, False)
    other = ratio([0, 0, 1, 1], [1, 1, 1, 1])
    assert paired_bootstrap(side, other, seed=3) == paired_bootstrap(side, other, seed=3)
    assert paired_bootstrap(side, other, seed=3).higher == pytest.approx((0.75**4) / 2, abs=0.05)  # a tie without row 0
