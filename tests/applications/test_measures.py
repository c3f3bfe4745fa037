"""Are the numbers of an application's table what they say?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.applications import table, training
from benchmarks.applications.baselines import copied, majority, nearest_sentence
from benchmarks.applications.catalogue import APPLICATIONS
from benchmarks.applications.measures import of_commands, of_intents, with_threshold

from tunefleet.base.errors import RunError

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


def _run(folder: Path, samples: list[dict[str, str]]) -> training.Trained:
    (folder / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return training.Trained(folder, cpu_minutes=0)


def test_a_run_is_measured_by_its_answers_to_the_test_rows_alone(tmp_path: Path) -> None:
    intents = [("pay", "pay", "oos"), ("pay", "pay", "pay"), ("oos", "pay", "oos")]
    test = [
        {"split": "test", "reference": reference, "generated": generated, "answer": answer}
        for reference, generated, answer in intents
    ]
    run = _run(tmp_path, [{"split": "validation", "reference": "pay", "generated": "x", "answer": "x"}, *test])
    values = training.values(APPLICATIONS["understanding"], run)["test"]
    assert (values["accuracy"], values["out_of_scope_recall"]) == (100, 0)
    assert (values["accuracy_lost"], values["recall_with_threshold"]) == (50, 100)


def test_a_run_without_answers_to_test_rows_is_an_error(tmp_path: Path) -> None:
    run = _run(tmp_path, [{"split": "validation", "reference": "a", "generated": "a", "answer": "a"}])
    with pytest.raises(RunError, match="no answers of the split test"):
        training.values(APPLICATIONS["translation"], run)
