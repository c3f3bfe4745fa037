"""Does a tokenizer that was trained on rows give back any text, keep its special tokens whole, and load everywhere?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from tunefleet.base.errors import ConfigError, DataError, RunError
from tunefleet.config.data import DataConfig, OnBadRow
from tunefleet.runs.tokenizer_training import SpecialTokens, train

SENTENCES = [
    "the weather in paris",
    "play some music",
    "我今天去学校上课。",
    "Fußgänger grüßen täglich",
    "tab\tand  spaces\n",
]


def rows(folder: Path, *lines: str) -> DataConfig:
    path = folder / "rows.jsonl"
    records = [{"prompt": text, "completion": text[::-1]} for text in SENTENCES * 20]
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + "".join(lines))
    return DataConfig(path=str(path), on_bad_row=OnBadRow.ERROR)


def test_any_text_comes_back_and_what_was_trained_on_is_short(tmp_path: Path) -> None:
    train(rows(tmp_path), 500, SpecialTokens(), tmp_path / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    for text in [*SENTENCES, "кириллица 🙂 \x00 never seen", " leading"]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer("play some music")["input_ids"]) == 3
    assert len(tokenizer) <= 500


def test_special_tokens_are_one_token_each_and_their_text_in_rows_teaches_nothing(tmp_path: Path) -> None:
    specials = SpecialTokens(more=("<|im_start|>", "<|im_end|>"))
    train(rows(tmp_path), 400, specials, tmp_path / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert [len(tokenizer(token)["input_ids"]) for token in specials.all] == [1, 1, 1, 1]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|endoftext|>", "<|pad|>")
    assert sorted(tokenizer.convert_tokens_to_ids(list(specials.all))) == [0, 1, 2, 3]


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        train(rows(tmp_path), 400, SpecialTokens(), tmp_path / name)
    assert (tmp_path / "first/tokenizer.json").read_bytes() == (tmp_path / "second/tokenizer.json").read_bytes()


def test_what_cannot_be_is_refused_and_nothing_of_the_users_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--vocab 100: the bytes and the special tokens alone are 258"):
        train(rows(tmp_path), 100, SpecialTokens(), tmp_path / "tokenizer")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tokenizer.json").write_text("mine")
    with pytest.raises(RunError, match=r"tokenizer\.json"):
        train(rows(tmp_path), 400, SpecialTokens(), tmp_path / "mine")
    assert (tmp_path / "mine" / "tokenizer.json").read_text() == "mine"
    with pytest.raises(DataError, match=r"rows\.jsonl:101"):
        train(rows(tmp_path, "{broken\n"), 400, SpecialTokens(), tmp_path / "tokenizer")
    assert not (tmp_path / "tokenizer").exists()
