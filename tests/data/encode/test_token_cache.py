"""Is what was tokenised once not tokenised again, and never taken for something else?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.shared import tiny_tokenizer
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, LongRows, TrainOn
from tunefleet.data.encode import stream
from tunefleet.data.encode.tokenise import Tokenise
from tunefleet.data.prepare import Prepared, prepare
from tunefleet.data.store.dataset import Dataset

SAMPLED = 64 + 2  # conversations of each data set that are compared with inference, each in a call of its own
Counted = Callable[..., tuple[Prepared, int]]


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    rows = [{"prompt": f"Row {i}?", "completion": f"tells {i} " + "na " * (i % 40)} for i in range(200)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataConfig(path=str(path), validation_rows=5, max_truncated=1, cache=str(tmp_path / "cache"))


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Prepares, and how many texts were tokenised for it by chunks (the sample of `verify` is left out)."""
    calls: list[int] = []
    tokenise = Tokenise.__call__

    def counting(self: Tokenise, texts: Any) -> Any:
        calls.append(len(texts))
        return tokenise(self, texts)

    monkeypatch.setattr(Tokenise, "__call__", counting)
    monkeypatch.setattr(stream, "CHUNK_ROWS", 100)

    def run(config: DataConfig, longest: int, tokenizer: Any = None) -> tuple[Prepared, int]:
        calls.clear()
        actual = prepare(config, tokenizer or tiny_tokenizer(), longest)
        return actual, sum(number for number in calls if number > SAMPLED)

    return run


def same(one: Dataset, second: Dataset) -> bool:
    names = ("tokens", "loss_mask", "starts", "packs", "bounds")
    arrays = all(np.array_equal(getattr(one, name), getattr(second, name)) for name in names)
    return arrays and one.card == second.card and one.examples == second.examples


CHANGES: list[dict[str, Any]] = [
    {},
    {"packing": False},
    {"long_rows": LongRows.DROP},
    {"long_rows": LongRows.SPLIT},
    {"validation_rows": 11},
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("longest", [24, 200])
def test_another_length_is_not_tokenised_again(
    config: DataConfig, prepared: Counted, tmp_path: Path, change: dict[str, Any], longest: int
) -> None:
    """And gives what an empty cache gives, to which the first length and the second are new."""
    first, tokenised = prepared(config, 48)
    assert tokenised == 200
    assert first.train.card.truncated
    repeated, tokenised = prepared(replace(config, **change), longest)
    assert tokenised == 0
    fresh, tokenised = prepared(replace(config, **change, cache=str(tmp_path / "fresh")), longest)
    assert tokenised == 200
    assert same(repeated.train, fresh.train)
    assert all(same(repeated.validation[name], fresh.validation[name]) for name in fresh.validation)


def test_a_preparation_that_was_refused_for_its_length_leaves_its_tokens(config: DataConfig, prepared: Counted) -> None:
    with pytest.raises(DataError, match=r"data\.max_truncated"):
        prepared(replace(config, max_truncated=0), 24)
    assert prepared(replace(config, max_truncated=0), 200)[1] == 0


def test_rows_that_were_added_are_tokenised_alone(config: DataConfig, prepared: Counted) -> None:
    prepared(config, 48)
    with open(str(config.path), "a") as stream:
        stream.write("".join(json.dumps({"prompt": f"New {i}?", "completion": "yes"}) + "\n" for i in range(70)))
    assert prepared(config, 48)[1] == 70


def test_other_texts_masks_and_tokenizers_are_not_found(config: DataConfig, prepared: Counted) -> None:
    """The control: whatever changes the tokens or what is in the loss."""
    prepared(config, 48)
    assert prepared(replace(config, template="chatml"), 200)[1] == 200
    assert prepared(replace(config, train_on=TrainOn.ALL), 48)[1] == 200
    second = tiny_tokenizer()
    second.add_tokens(["na na"])
    assert prepared(config, 48, second)[1] == 200
    path = Path(str(config.path))
    path.write_text(path.read_text().replace("Row 199?", "Row 19?"))
    assert prepared(config, 48)[1] == 100  # of the chunk that holds it


@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04", None])
def test_a_broken_file_is_tokenised_again(
    config: DataConfig, prepared: Counted, tmp_path: Path, broken: bytes | None
) -> None:
    """One that is empty, cut off, or has one bit turned over among its tokens."""
    prepared(config, 48)
    for path in (Path(config.cache) / "tokens").iterdir():
        complete = bytearray(path.read_bytes())
        complete[400] ^= 1
        path.write_bytes(bytes(complete) if broken is None else broken)
    repeated, tokenised = prepared(config, 60)
    assert tokenised == 200
    assert same(repeated.train, prepared(replace(config, cache=str(tmp_path / "fresh")), 60)[0].train)


def test_where_nothing_can_be_kept_all_is_prepared_all_the_same(config: DataConfig, prepared: Counted) -> None:
    Path(config.cache).mkdir()
    (Path(config.cache) / "tokens").write_text("in the way")
    assert prepared(config, 48)[1] == 200
    assert prepared(config, 60)[1] == 200
