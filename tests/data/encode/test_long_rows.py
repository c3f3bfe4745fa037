"""Is what is longer than a row cut, split or left out as asked, its end still learnt, and each told?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, LongRows
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.long_rows import fit as fit_parts
from tunefleet.data.prepare import prepare

STOP = 99


def row(prompt: int, answer: int, *more: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Prompts of 0 and answers of 1, 2, 3 ... that end with STOP, as tokens and what learns."""
    tokens: list[int] = []
    learns: list[bool] = []
    for prompt_tokens, answer_tokens in ((prompt, answer), *more):
        tokens += [0] * prompt_tokens + [*range(1, answer_tokens), STOP]
        learns += [False] * prompt_tokens + [True] * answer_tokens
    return np.asarray(tokens, dtype=np.int32), np.asarray(learns)


def fit(of: tuple[np.ndarray, np.ndarray], longest: int, how: str, is_text: bool = False) -> list[Encoded]:
    return fit_parts(*of, is_text, longest, LongRows(how))


def learnt(part: Encoded) -> list[int]:
    return part.tokens[part.loss_mask].tolist()


@pytest.mark.parametrize("how", LongRows)
def test_what_fits_is_left_alone(how: LongRows) -> None:
    tokens, learns = row(3, 5)
    [part] = fit_parts(tokens, learns, False, 8, how)
    assert (part.tokens.tolist(), part.loss_mask.tolist()) == (tokens.tolist(), learns.tolist())
    assert (part.truncated, part.split, part.too_long) == (False, False, False)


def test_a_cut_answer_keeps_its_end_and_does_not_learn_across_the_gap() -> None:
    [part] = fit(row(4, 60), 24, "truncate")
    assert len(part.tokens) == 24
    assert part.truncated
    assert part.tokens.tolist() == [0] * 4 + [*range(1, 18), 58, 59, STOP]
    assert learnt(part) == [*range(1, 18), 59, STOP]  # 58 follows 17 here: it is not learnt


@pytest.mark.parametrize("longest", range(2, 70))
def test_a_cut_row_is_never_longer_and_learns_to_stop_where_an_answer_has_begun(longest: int) -> None:
    [part] = fit(row(4, 60), longest, "truncate")
    assert len(part.tokens) == min(longest, 64)
    assert (STOP in learnt(part)) == (longest > 6)
    assert sorted(learnt(part)) == learnt(part)


def test_earlier_answers_stay_whole_and_a_cut_question_learns_nothing() -> None:
    [part] = fit(row(3, 4, (30, 9)), 20, "truncate")
    assert part.tokens.tolist() == [0, 0, 0, 1, 2, 3, STOP, *[0] * 13]
    assert learnt(part) == [1, 2, 3, STOP]


def test_the_end_is_that_of_the_answer_that_was_cut() -> None:
    [part] = fit(row(2, 40, (2, 3)), 16, "truncate")
    assert part.tokens[-1] == STOP
    assert part.tokens[-2] == 39


@pytest.mark.parametrize("longest", [2, 3, 5, 8, 63])
def test_split_learns_every_token_once(longest: int) -> None:
    parts = fit(row(4, 30, (20, 10)), longest, "split")
    assert all(1 < len(part.tokens) <= longest and part.has_targets for part in parts)
    assert [token for part in parts for token in part.tokens[1:][part.loss_mask[1:]].tolist()] == [
        *range(1, 30),
        STOP,
        *range(1, 10),
        STOP,
    ]
    assert [part.split for part in parts] == [True] + [False] * (len(parts) - 1)


def test_dropped_is_empty_and_says_so() -> None:
    [part] = fit(row(4, 30), 20, "drop")
    assert (len(part.tokens), part.too_long, part.has_targets) == (0, True, False)


@pytest.mark.parametrize("how", LongRows)
def test_text_is_split_whatever_is_asked(how: LongRows) -> None:
    parts = fit_parts(np.arange(30, dtype=np.int32), np.ones(30, dtype=np.bool_), True, 8, how)
    assert [part.tokens.tolist() for part in parts][:2] == [[*range(8)], [*range(7, 15)]]
    assert parts[-1].tokens[-1] == 29


# --- prepared


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    rows = [{"prompt": f"{i}?", "completion": "na " * (60 if i % 4 == 0 else 2)} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataConfig(path=str(tmp_path / "rows.jsonl"), validation_rows=0, cache=str(tmp_path / "cache"))


def test_each_way_is_counted(config: DataConfig, tokenizer: Any) -> None:
    cards = {how: prepare(replace(config, long_rows=how), tokenizer, 48).train.card for how in LongRows}
    cut, split, left_out = (cards[how] for how in LongRows)
    assert (cut.conversations, cut.truncated, cut.split, cut.too_long, cut.read) == (20, 5, 0, 0, 20)
    assert (split.truncated, split.split, split.too_long) == (0, 5, 0)
    assert split.conversations > 20
    assert (left_out.conversations, left_out.truncated, left_out.too_long, left_out.read) == (15, 0, 5, 20)
    assert cut.loss_tokens < split.loss_tokens
    assert max(cut.longest, split.longest, left_out.longest) <= 48


@pytest.mark.parametrize(("how", "answer_tokens"), [("truncate", "would be cut"), ("drop", "would be left out")])
def test_too_many_are_refused(config: DataConfig, tokenizer: Any, how: str, answer_tokens: str) -> None:
    strict = replace(config, long_rows=LongRows(how), max_truncated=0.2)
    with pytest.raises(
        DataError, match=rf"5 of 20 conversations \(25\.0%\) .*{answer_tokens} \(.*rows\.jsonl:1, .*long_rows=split"
    ):
        prepare(strict, tokenizer, 48)
    assert prepare(replace(strict, long_rows=LongRows.SPLIT), tokenizer, 48).train.card.split == 5
