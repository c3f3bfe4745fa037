"""Are the numbers of an application's table what they say?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from benchmarks.applications import baseline_rows, rows, table, training
from benchmarks.applications.__main__ import baselines
from benchmarks.applications.baselines import copied, majority, nearest_sentence
from benchmarks.applications.catalogue import APPLICATIONS
from benchmarks.applications.measures import of_commands, of_intents, with_threshold

from tunefleet.base.errors import RunError
from tunefleet.data.demo import generate
from tunefleet.doors.compose import from_overrides
from tunefleet.plan.paths import validation_splits

ROOT = Path(__file__).parents[2]
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
    assert table.markdown("translation", runs, {"a copy": {"test": {"bleu": 0.51}}}).splitlines() == [
        "|  | bleu |",
        "|---|---|",
        "| translation, 3 seeds | 31.5 ± 2.0 |",
        "| - a copy | 0.5 |",
    ]
    assert table.markdown("translation", runs[:1], {}).endswith("| translation, one seed | 30.0 |")


def test_each_split_has_a_line_and_a_baseline_may_lack_a_value() -> None:
    run = {"unseen_words": {"recall": 1.0, "lost": 2.0}, "test": {"recall": 3.0, "lost": 4.0}}
    baseline = {"unseen_words": {"recall": 5.0}, "test": {"recall": 6.0}}
    assert table.markdown("a", [run], {"b": baseline}).splitlines()[2:] == [
        "| a, unseen words, one seed | 1.0 | 2.0 |",
        "| - b, unseen words | 5.0 |  |",
        "| a, test, one seed | 3.0 | 4.0 |",
        "| - b, test | 6.0 |  |",
    ]


def test_baselines_of_commands_answer_the_json_that_the_run_is_trained_to_answer(tmp_path: Path) -> None:
    folder = tmp_path / "voice_assistant_snips"
    parts = [{"text": "play "}, {"text": "Help", "entity": "track"}]
    commands = [{"text": "play Help", "label": "PlayMusic", "slots": parts}]
    rows.write({"train": commands, "test": commands}, folder)
    measured = baselines(APPLICATIONS["voice_assistant_snips"], tmp_path)
    train, splits = baseline_rows.of(APPLICATIONS["voice_assistant_snips"], tmp_path)
    assert train[0]["target"] == splits["test"][0]["target"]
    assert json.loads(train[0]["target"]) == {"intent": "PlayMusic", "slots": {"track": "Help"}}
    assert [values["test"]["exact_match"] for values in measured.values()] == [100, 100]


def test_baselines_of_the_demo_answer_the_rows_that_its_runs_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = from_overrides(["experiment=voice_assistant"]).data
    assert config.max_rows == baseline_rows.DEMO_ROWS
    monkeypatch.setattr(baseline_rows, "DEMO_ROWS", 9)
    _, splits = baseline_rows.of(APPLICATIONS["voice_assistant"], tmp_path)
    assert list(splits) == list(validation_splits.DEMO)
    assert {len(split) for split in splits.values()} == {config.validation_rows}
    assert splits["unseen_words"][0] == {
        "source": next(generate.rows("unseen_words", 1))["prompt"],
        "target": next(generate.rows("unseen_words", 1))["completion"],
    }


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


@pytest.mark.parametrize("name", APPLICATIONS)
def test_what_an_experiment_expects_stands_on_its_card(name: str) -> None:
    """Seeds, baselines, and no number that the card has not."""
    card = from_overrides([f"experiment={name}"]).experiment
    page = next(
        (ROOT / "docs" / "applications").glob(f"{name.split('_zh')[0].split('_reverse')[0].split('_snips')[0]}.md")
    )
    expected = card.expected.partition(" Printed by")[0]
    assert "seed" in expected or "Not measured" in expected
    assert "nearest" in expected or "TF-IDF" in expected
    numbers = re.findall(r"\d+\.\d", expected)
    assert len(numbers) >= 4
    assert set(numbers) <= set(re.findall(r"\d+\.\d", page.read_text(encoding="utf-8")))
