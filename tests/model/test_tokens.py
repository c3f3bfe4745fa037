"""Do special and new tokens of the settings become the tokenizer's, and a token that is none is refused?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared import tiny_tokenizer
from tunefleet.base.errors import ConfigError
from tunefleet.model import tokenizer as tokenizers


@pytest.fixture
def folder(tmp_path: Path) -> str:
    tiny_tokenizer().save_pretrained(tmp_path)
    return str(tmp_path)


def test_special_tokens_replace_those_of_the_files(folder: str) -> None:
    token = next(token for token in tiny_tokenizer().get_vocab() if len(token) == 1)
    loaded = tokenizers.load(folder, "opt", special_tokens={"eos_token": token})
    assert loaded.eos_token == token
    assert loaded.eos_token_id == tiny_tokenizer().get_vocab()[token]
    assert loaded.bos_token == tokenizers.load(folder, "opt").bos_token


def test_new_tokens_are_read_whole_behind_all_others(folder: str) -> None:
    plain = tokenizers.load(folder, "opt")
    loaded = tokenizers.load(folder, "opt", {"eos_token": "<|over|>"}, ("<|over|>", "<|begin|>"))
    ids = loaded("a<|begin|>b<|over|>", add_special_tokens=False)["input_ids"]
    assert [ids[1], ids[3]] == [len(plain) + 1, len(plain)]
    assert loaded.eos_token_id == len(plain)


def test_a_special_token_that_is_none_is_refused(folder: str) -> None:
    with pytest.raises(ConfigError, match=r"special_tokens\.eos_token=<none> is not in the tokenizer's vocabulary"):
        tokenizers.load(folder, "opt", {"eos_token": "<none>"})
