"""Is the threshold the highest at its cost, and does it leave likely answers alone?"""

from __future__ import annotations

import pytest

from tunefleet.evaluation.threshold import applied, choose

ANSWERS = ["a", "b", "a", "b", "a"]
PROBABILITIES = [0.9, 0.8, 0.7, 0.6, 0.5]
REFERENCES = ["a", "b", "a", "a", "none"]  # three of four known rows are right


@pytest.mark.parametrize(("cost", "threshold"), [(0.0, 0.7), (0.25, 0.8), (0.5, 0.9), (1.0, 0.9)])
def test_the_threshold_is_the_highest_that_costs_no_more(cost: float, threshold: float) -> None:
    assert choose(ANSWERS, PROBABILITIES, REFERENCES, "none", cost) == threshold
    texts = applied(ANSWERS, PROBABILITIES, threshold, "none")
    pairs = zip(texts[:4], REFERENCES[:4], strict=True)
    assert sum(answer == reference for answer, reference in pairs) >= min(1, 3 - 4 * cost)
    assert texts[4] == "none"


def test_a_higher_one_would_cost_more() -> None:
    texts = applied(ANSWERS, PROBABILITIES, 0.7 + 1e-9, "none")
    assert sum(answer == reference for answer, reference in zip(texts, REFERENCES, strict=True)) == 2 + 1


def test_without_a_right_answer_nothing_falls_below() -> None:
    assert choose(["a"], [0.3], ["b"], "none", 0.5) == 0.0
    assert choose(["none"], [0.3], ["none"], "none", 0.5) == 0.0
    assert applied(["a"], [0.0], 0.0, "none") == ["a"]
