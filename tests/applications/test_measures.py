"""Are the numbers of an application's table what they say?"""

from __future__ import annotations

import pytest
from benchmarks.applications import table
from benchmarks.applications.baselines import copied, majority, nearest_sentence
from benchmarks.applications.measures import of_commands, of_intents, with_threshold

REFERENCES = ["a", "a", "b", "b", "oos", "oos"]


def test_accuracy_is_of_questions_with_an_intent_and_recall_of_those_without() -> None:
    values = of_intents(["a", "b", "b", "oos", "oos", "a"], REFERENCES)
    assert values["accuracy"] == 50
    assert values["out_of_scope_recall"] == 50
    assert values["macro_f1"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)  # a: 1 of 1 and 1 of 2; b: 1 of 2 and 1 of 2


def test_a_threshold_loses_accuracy_and_wins_recall() -> None:
    without = of_intents(["a", "a", "b", "b", "oos", "a"], REFERENCES)
    values = with_threshold(without, ["a", "a", "b", "oos", "oos", "oos"], REFERENCES)
    assert values["accuracy"] == 100
    assert values["accuracy_lost"] == 25
    assert (values["out_of_scope_recall"], values["recall_with_threshold"]) == (50, 100)


def test_a_command_is_measured_in_percent() -> None:
    assert of_commands(['{"a": 1}'], ['{"a": 1}']) == {"exact_match": 100, "json_valid": 100, "slot_f1": 100}


def test_baselines_answer_every_row() -> None:
    train = [{"source": "a red ball", "target": "ein roter Ball"}, {"source": "two dogs", "target": "zwei Hunde"}]
    assert nearest_sentence(train, [{"source": "dogs"}, {"source": "the red ball"}]) == ["zwei Hunde", "ein roter Ball"]
    assert copied(train, train) == ["a red ball", "two dogs"]
    assert majority([{"label": "x"}, {"label": "y"}, {"label": "y"}], [{}, {}]) == ["y", "y"]


def test_a_tolerance_is_the_largest_distance_from_the_mean() -> None:
    runs = [{"test": {"bleu": 30.0}}, {"test": {"bleu": 31.0}}, {"test": {"bleu": 33.5}}]
    assert table.of_runs(runs).splitlines()[-1].split() == [
        "test",
        "bleu",
        "31.5",
        "±",
        "2.0",
        "30.0,",
        "31.0,",
        "33.5",
    ]
    assert "one seed" in table.of_runs(runs[:1])
