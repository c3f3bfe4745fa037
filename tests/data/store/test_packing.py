"""Does packing lose nothing, fit everything and waste little, whatever the lengths?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.shared import shared_data
from tunefleet.config.data import SourceConfig, TrainOn
from tunefleet.data.encode.loss_mask import encode
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.template_source import find
from tunefleet.data.formats.collect import collect
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.sources import Source
from tunefleet.data.store.packing import pack
from tunefleet.model import tokenizer as tokenizers

CAPACITY = 64


def uniform(draw: np.random.Generator, count: int) -> np.ndarray:
    return draw.integers(1, CAPACITY + 1, count)


def short(draw: np.random.Generator, count: int) -> np.ndarray:
    return draw.integers(1, 9, count)


def long(draw: np.random.Generator, count: int) -> np.ndarray:
    return draw.integers(CAPACITY // 3, CAPACITY + 1, count)


def skewed(draw: np.random.Generator, count: int) -> np.ndarray:
    return np.clip(draw.lognormal(2.5, 0.9, count).astype(int), 1, CAPACITY)


def two_kinds(draw: np.random.Generator, count: int) -> np.ndarray:
    return draw.choice([CAPACITY // 2 + 1, CAPACITY // 2 - 1], count)


SHAPES = (uniform, short, long, skewed, two_kinds)
Shape = Callable[[np.random.Generator, int], np.ndarray]


def lengths_of(shape: Shape, seed: int) -> list[int]:
    draw = np.random.default_rng(seed)
    return [int(n) for n in shape(draw, int(draw.integers(1, 200)))]


def first_fit_decreasing(lengths: Sequence[int], capacity: int) -> int:
    """Rows of the textbook heuristic, naively."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        for row, room in enumerate(rooms):
            if room >= length:
                rooms[row] -= length
                break
        else:
            rooms.append(capacity - length)
    return len(rooms)


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> int:
    """Rows of what `pack` says it is, naively."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row, room in enumerate(rooms) if room >= length]
        if fitting:
            rooms[min(fitting, key=lambda row: rooms[row])] -= length
        else:
            rooms.append(capacity - length)
    return len(rooms)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(30))
def test_every_item_once_and_no_row_too_long(shape: Shape, seed: int) -> None:
    lengths = lengths_of(shape, seed)
    rows = pack(lengths, CAPACITY)
    assert sorted(item for row in rows for item in row) == list(range(len(lengths)))
    assert max(sum(lengths[item] for item in row) for row in rows) <= CAPACITY
    assert all(rows)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(30))
def test_no_more_rows_than_first_fit_decreasing(shape: Shape, seed: int) -> None:
    """No theorem (either heuristic can win by a row), but so on all of these draws."""
    lengths = lengths_of(shape, seed)
    actual = len(pack(lengths, CAPACITY))
    assert actual == best_fit_decreasing(lengths, CAPACITY)
    assert actual <= first_fit_decreasing(lengths, CAPACITY)
    assert actual >= -(-sum(lengths) // CAPACITY)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_lengths_give_the_same_rows(shape: Shape) -> None:
    lengths = lengths_of(shape, 7)
    assert pack(lengths, CAPACITY) == pack(list(lengths), CAPACITY) == pack(tuple(lengths), CAPACITY)


def test_a_small_case_by_hand() -> None:
    assert pack([3, 7, 5, 5, 10], 10) == [[4], [1, 0], [2, 3]]


def test_equal_items_come_in_their_order() -> None:
    assert pack([4, 4, 4, 4], 8) == [[0, 1], [2, 3]]


def test_an_item_as_long_as_the_row() -> None:
    assert pack([8, 8], 8) == [[0], [1]]


def test_nothing_gives_no_rows() -> None:
    assert pack([], 8) == []


@pytest.mark.parametrize("lengths", [[9], [1, 2, 9, 3]])
def test_an_item_longer_than_a_row_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="9 tokens is longer than the capacity of 8"):
        pack(lengths, 8)


@pytest.mark.parametrize(("capacity", "seconds"), [(2_048, 5.0), (32_768, 10.0)])
def test_two_hundred_thousand_items_take_seconds(capacity: int, seconds: float) -> None:
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.lognormal(5, 1, 200_000).astype(int), 1, capacity).tolist()
    started = time.process_time()
    rows = pack(lengths, capacity)
    assert time.process_time() - started < seconds
    assert sum(map(len, rows)) == len(lengths)


def test_alpaca_at_2048_wastes_less_than_a_hundredth(
    record_property: Callable[[str, object], None], tmp_path: Path
) -> None:
    path = shared_data("alpaca_52k/alpaca_data.json")
    tokenizer = tokenizers.load(str(shared_data("tok_opt")), "opt")
    chat = ChatTemplate(find("alpaca", None), dict(tokenizer.special_tokens_map))
    source = Source("train", SourceConfig(path=str(path), max_rows=10_000))
    conversations = collect(source, BadRows(tmp_path / "bad.txt", cap=100))  # a few answers are empty
    encoded = encode(conversations, chat, tokenizer, TrainOn.RESPONSE, 2_048)
    lengths = [len(e.tokens) for e in encoded]
    rows = pack(lengths, 2_048)
    filled = sum(lengths) / (len(rows) * 2_048)
    record_property("alpaca_filled", filled)
    print(f"{len(lengths)} conversations, {sum(lengths)} tokens, {len(rows)} rows, {filled:.4%} filled")
    assert filled >= 0.99
