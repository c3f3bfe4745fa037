"""Are an application's rows the same on every machine, and does no test sentence have a near copy to train on?"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.applications import clinc150, manythings, multi30k, near_copies, open_domain, rows, snips
from benchmarks.applications.catalogue import APPLICATIONS, PREPARED
from benchmarks.applications.clinc150 import OUT_OF_SCOPE

from tunefleet.base.errors import DataError
from tunefleet.doors.compose import from_overrides

SENTENCES = [
    (f"{who} {verb} the {thing} {where}.", f"{who}{number}在{where}{verb}了{thing}。")
    for number, who in enumerate(("Tom", "Mary", "My uncle", "Nobody", "The old dentist"))
    for verb in ("sold", "painted", "forgot")
    for thing in ("red bicycle", "umbrella", "telescope", "grammar book")
    for where in ("yesterday", "in Boston", "at the harbour")
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Small files in the form of the public ones."""
    clinc = {
        "train": [["pay my bill please", "pay_bill"], ["play a song for me", "play_music"]],
        "oos_train": [["how is glue made", OUT_OF_SCOPE]],
        "val": [["pay it", "pay_bill"]],
        "oos_val": [["why", OUT_OF_SCOPE]],
        "test": [["play it", "play_music"]],
        "oos_test": [["who", OUT_OF_SCOPE]],
    }
    _write(tmp_path / "clinc150" / "data_full.json", json.dumps(clinc))
    alpaca = [{"instruction": f"How old is planet number {n}?", "input": ""} for n in range(9)]
    _write(tmp_path / "alpaca_52k" / "alpaca_data.json", json.dumps(alpaca))
    for name in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de"):
            path = tmp_path / "multi30k" / "data" / "task1" / "raw" / f"{name}.{language}.gz"  # as in a clone
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(f"{name} {language} 1\n{name} {language} 2\n".encode()))
    lines = [f"{english}\t{chinese}\tCC-BY" for english, chinese in SENTENCES]
    _write(tmp_path / "manythings_cmn_eng" / "cmn.txt", "\ufeff" + "\n".join([*lines, lines[0]]) + "\n")
    for kind, count in (("train", 120), ("validate", 3)):
        command = {"data": [{"text": "play "}, {"text": "Help", "entity": "track"}]}
        name = f"{kind}_PlayMusic{'_full' if kind == 'train' else ''}.json"
        _write(tmp_path / "snips_nlu" / "PlayMusic" / name, json.dumps({"PlayMusic": [command] * count}))
    return tmp_path


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten test sentences and five to validate."""
    monkeypatch.setattr(manythings, "TEST", 10)
    monkeypatch.setattr(manythings, "VALIDATION", 5)


@pytest.mark.parametrize("name", PREPARED)
def test_rows_have_the_same_bytes_at_every_call(name: str, raw: Path, few: None, tmp_path: Path) -> None:
    first = rows.write(PREPARED[name].splits(raw), tmp_path / "first")
    assert rows.write(PREPARED[name].splits(raw), tmp_path / "second") == first
    assert {"train.jsonl", "validation.jsonl", "test.jsonl"} <= set(first)
    assert rows.read(tmp_path / "first" / "test.jsonl") == list(PREPARED[name].splits(raw)["test"])


@pytest.mark.parametrize("name", PREPARED)
def test_a_missing_public_file_is_one_line_that_says_where_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file\. Get it with `(git clone|curl)") as error:
        PREPARED[name].splits(tmp_path)
    assert "\n" not in str(error.value)


def test_no_sentence_has_a_near_copy_in_another_split(raw: Path, few: None) -> None:
    splits = manythings.splits(raw)
    assert {name: len(split) for name, split in splits.items() if name != "train"} == {"test": 10, "validation": 5}
    assert splits["train"]
    for name, others in (("test", ("train", "validation")), ("validation", ("train",))):
        held_out = [shingles for row in splits[name] for shingles in _shingles(row)]
        for row in (row for other in others for row in splits[other]):
            for shingles in _shingles(row):
                assert all(_similarity(shingles, other) < near_copies.SIMILARITY for other in held_out)


def test_a_split_at_random_has_near_copies(raw: Path, few: None) -> None:
    """Control: these sentences have near copies of each other, so that leaving them out matters."""
    texts = [english for english, _ in SENTENCES]
    index = near_copies.Index()
    index.add(texts[::10])
    assert sum(index.has_copy_of([text]) for text in texts if text not in texts[::10]) > 10


def _shingles(row: dict[str, Any]) -> list[frozenset[str]]:
    """By hand: runs of three letters, two in Chinese."""
    texts = ["".join(filter(str.isalnum, row[side].lower())) for side in ("source", "target")]
    return [
        frozenset(text[i : i + n] for i in range(len(text) - n + 1))
        for text in texts
        for n in [3 if text.isascii() else 2]
    ]


def _similarity(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / len(first | second)


def test_intents_get_questions_that_have_none_and_copies_without_words(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clinc150, "OUTLIERS", 4)
    splits = clinc150.splits(raw)
    assert len(splits["original"]) == 3
    assert len(splits["train"]) == (3 + 4) * (1 + clinc150.COPIES)
    assert list(splits["train"][:3]) == list(splits["original"])
    assert open_domain.questions(raw, 4) == [row["text"] for row in splits["train"][3:7]]
    assert all(text.startswith("how old is planet number") for text in open_domain.questions(raw, 4))


def test_line_aligned_files_become_pairs(raw: Path) -> None:
    assert multi30k.splits(raw)["train"][1] == {"source": "train en 2", "target": "train de 2"}


def test_a_command_is_its_text_its_intent_and_its_parts(raw: Path) -> None:
    splits = snips.splits(raw)
    assert {name: len(split) for name, split in splits.items()} == {"train": 20, "validation": 100, "test": 3}
    assert splits["test"][0]["text"] == "play Help"
    assert splits["test"][0]["slots"][1] == {"text": "Help", "entity": "track"}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_is_an_experiment_that_reads_what_is_prepared(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEFLEET_APPLICATIONS", str(tmp_path))
    config = from_overrides([f"experiment={name}"])
    if APPLICATIONS[name].folder is None:
        assert config.data.path == "demo"
        return
    folder = tmp_path / str(APPLICATIONS[name].folder)
    paths = (config.data.path, config.data.validation_path, config.data.test_path)
    assert paths == tuple(f"{folder}/{split}.jsonl" for split in ("train", "validation", "test"))
    assert config.model.tokenizer == f"{folder}/tokenizer"
    assert config.model.architecture["vocab_size"] == PREPARED[folder.name].vocabulary
