"""Does a mixture hold what its weights and epochs say, the same for a seed, and nothing that is held out?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, Format, MixedSource, OnBadRow
from tunefleet.data.prepare import Prepared, prepare
from tunefleet.data.store.mix import drawn, mixed, shares
from tunefleet.plan.paths.validation_splits import names

SIZES = [100, 40, 7]


def weighted(*weights: float) -> list[MixedSource]:
    return [MixedSource(weight=weight) for weight in weights]


def repeated(*epochs: float | None) -> list[MixedSource]:
    return [MixedSource(epochs=count) for count in epochs]


def test_without_a_word_every_row_stands_once() -> None:
    assert [times.tolist() for times in mixed(SIZES, repeated(None, None, None), 0)] == [[1] * size for size in SIZES]


@pytest.mark.parametrize(("epochs", "counts"), [((2, 0.5, 1.5), [200, 20, 10]), ((0.25, 1, 3), [25, 40, 21])])
def test_epochs_say_how_often_a_row_stands(epochs: tuple[float, ...], counts: list[int]) -> None:
    actual = mixed(SIZES, repeated(*epochs), 0)
    assert [int(times.sum()) for times in actual] == counts
    for times, count in zip(actual, epochs, strict=True):
        assert {*times.tolist()} <= {int(count), int(count) + 1}


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 1, 1), (0.7, 0.2, 0.1), (1e-6, 1, 1), (100, 100, 1)])
def test_weights_are_shares_of_as_many_rows_as_there_are(weights: tuple[float, ...]) -> None:
    actual = shares(SIZES, weighted(*weights))
    assert sum(actual) == sum(SIZES)
    assert all(
        abs(count - sum(SIZES) * weight / sum(weights)) < 1 for count, weight in zip(actual, weights, strict=True)
    )


def test_no_row_is_drawn_twice_before_every_other_is_drawn() -> None:
    for count in range(30):
        often = drawn(7, count, [0]).tolist()
        assert len(often) == 7
        assert sum(often) == count
        assert max(often) - min(often) <= 1


def test_a_mixture_is_a_function_of_its_seed() -> None:
    mix = weighted(1, 2, 1)
    first, same, second = (np.concatenate(mixed(SIZES, mix, seed)).tolist() for seed in (3, 3, 4))
    assert first == same
    assert first != second


def test_another_source_does_not_change_what_the_first_gives() -> None:
    [separate] = mixed(SIZES[:1], repeated(0.5), 0)
    assert mixed(SIZES, repeated(0.5, 1, 1), 0)[0].tolist() == separate.tolist()


def test_a_source_without_rows_gives_none() -> None:
    assert drawn(0, 5, [0]).tolist() == []


# Names


def test_sources_have_names_of_their_own() -> None:
    paths = ["a/train.jsonl", "b/chats.jsonl.gz", "c/chats.json", "hub:tatsu-lab/alpaca", "d/*.json", "chats"]
    config = DataConfig(mix=(*(MixedSource(path=path) for path in paths), MixedSource(path="x", name="own one")))
    assert names(config) == ["train_1", "chats", "chats_3", "alpaca", "5", "chats_6", "own_one"]


# Prepared


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    pairs = [{"prompt": f"Row {i}?", "completion": f"tells {i}"} for i in range(40)]
    labels = [{"text": f"Text {i}", "label": i % 2} for i in range(20)]
    return DataConfig(
        mix=(
            MixedSource(path=write(tmp_path / "pairs.jsonl", pairs), epochs=2.0),
            MixedSource(
                path=write(tmp_path / "labels.jsonl", labels),
                format=Format.LABELLED,
                label_names=("no", "yes"),
                instruction="Yes or no? {text}",
            ),
        ),
        validation_rows=3,
        cache=str(tmp_path / "cache"),
    )


def texts(prepared: Prepared, tokenizer: Any, name: str) -> list[str]:
    data = prepared.train if name == "train" else prepared.validation[name]
    return sorted(tokenizer.decode(tokens) for row in range(len(data)) for tokens, _ in data.sequence(row))


def test_a_mixture_is_prepared_with_each_source_in_its_own_format(config: DataConfig, tokenizer: Any) -> None:
    prepared = prepare(config, tokenizer, 64)
    assert prepared.train.card.conversations == 2 * (40 - 3) + (20 - 2)
    assert {name: data.card.conversations for name, data in prepared.validation.items()} == {"pairs": 3, "labels": 2}
    assert any(text.startswith("<s>User: Yes or no? Text") for text in texts(prepared, tokenizer, "train"))


def test_a_row_that_is_held_out_is_not_repeated_into_training(config: DataConfig, tokenizer: Any) -> None:
    prepared = prepare(config, tokenizer, 64)
    trained = set(texts(prepared, tokenizer, "train"))
    assert not trained & {text for name in prepared.validation for text in texts(prepared, tokenizer, name)}


def test_both_directions_of_a_translation_are_held_out_together(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"source": f"s{i}", "target": f"t{i}"} for i in range(40)]
    config = DataConfig(
        path=write(tmp_path / "pairs.jsonl", rows),
        instruction="To t: {source}",
        instruction_back="To s: {target}",
        validation_rows=4,
        cache=str(tmp_path / "cache"),
    )
    prepared = prepare(config, tokenizer, 64)
    assert (prepared.train.card.conversations, prepared.validation["validation"].card.conversations) == (72, 8)
    numbers = [
        {"".join(filter(str.isdigit, text.split("Assistant")[0])) for text in texts(prepared, tokenizer, name)}
        for name in ("train", "validation")
    ]
    assert not numbers[0] & numbers[1]


@pytest.mark.parametrize("change", [{"mix_seed": 1}, {"mix": ()}])
def test_a_change_of_the_mixture_prepares_anew(config: DataConfig, tokenizer: Any, change: dict[str, Any]) -> None:
    half = replace(config, mix=(replace(config.mix[0], epochs=0.5), config.mix[1]))
    previous = texts(prepare(half, tokenizer, 64), tokenizer, "train")
    assert texts(prepare(half, tokenizer, 64), tokenizer, "train") == previous
    second = replace(half, **(change if "mix_seed" in change else {"mix": half.mix[:1]}))
    assert texts(prepare(second, tokenizer, 64), tokenizer, "train") != previous


def test_the_same_rows_for_every_cache(config: DataConfig, tokenizer: Any, tmp_path: Path) -> None:
    """Ranks of machines that share no disk prepare for themselves."""
    half = replace(config, mix=(replace(config.mix[0], epochs=0.5), config.mix[1]))
    actual = [
        prepare(replace(half, cache=str(tmp_path / name)), tokenizer, 64).train.tokens.tolist() for name in ("1", "2")
    ]
    assert actual[0] == actual[1]


def test_an_empty_source_is_named(config: DataConfig, tokenizer: Any) -> None:
    Path(str(config.mix[1].path)).write_text("")
    with pytest.raises(DataError, match=r"labels\.jsonl: no rows\."):
        prepare(config, tokenizer, 64)


def test_bad_rows_of_all_sources_count_together(config: DataConfig, tokenizer: Any) -> None:
    for source in config.mix:
        path = Path(str(source.path))
        path.write_text(path.read_text() + "{\n")
    skipping = replace(config, on_bad_row=OnBadRow.SKIP, max_bad_rows=2)
    assert prepare(skipping, tokenizer, 64).bad_rows == 2
    with pytest.raises(DataError, match="max_bad_rows=1"):
        prepare(replace(skipping, max_bad_rows=1), tokenizer, 64)
