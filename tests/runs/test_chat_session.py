"""Does a chat remember earlier messages only where training had conversations of several questions?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base import files
from tunefleet.config.data import DataConfig
from tunefleet.data import prepare
from tunefleet.model import tokenizer
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS
from tunefleet.runs.chat_session import converse, single_turns

PAIR = [{"role": "user", "content": "play jazz"}, {"role": "assistant", "content": "ok"}]
ONE_QUESTION = {"messages": [{"role": "system", "content": "be short"}, *PAIR]}
TWO_QUESTIONS = {"messages": [*PAIR, *PAIR]}


def questions(folder: Path, rows: list[Any], **settings: Any) -> int:
    """What the card of the training rows says."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = DataConfig(path=str(folder / "rows.jsonl"), validation_rows=0, cache=str(folder / "cache"), **settings)
    demo_tokenizer = tokenizer.load(str(BUILT_IN_TOKENIZERS["demo"]), "opt")
    return prepare.prepare(config, demo_tokenizer, 64).train.card.questions


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([ONE_QUESTION] * 3, 1),
        ([ONE_QUESTION, TWO_QUESTIONS, ONE_QUESTION], 2),
        ([{"text": "once upon a time"}], 0),
    ],
)
def test_the_card_says_how_many_questions_a_conversation_has(tmp_path: Path, rows: list[Any], expected: int) -> None:
    assert questions(tmp_path, rows, template="plain") == expected


@pytest.mark.parametrize(("card", "expected"), [({"questions": 1}, True), ({"questions": 2}, False), ({}, False)])
def test_a_run_knows_it(tmp_path: Path, card: dict[str, int], expected: bool) -> None:
    plan = tiny_plan(tmp_path)
    assert not single_turns(plan)  # a run of before
    files.write_json(plan.paths.data, card)
    assert single_turns(plan) is expected


@pytest.mark.parametrize(
    ("remembers", "prompts"),
    [
        (False, ["a", "b", "c"]),
        (True, ["a", "a|A|b", "c"]),
    ],
)
def test_what_the_model_is_asked(remembers: bool, prompts: list[str]) -> None:
    """The demo's second question stood behind its first one, which no training row ever did."""
    prompts_given, replies = list[str](), list[str]()

    def answer(messages: list[dict[str, str]]) -> str:
        prompts_given.append("|".join(message["content"] for message in messages))
        return messages[-1]["content"].upper()

    lines = iter(["a", "b", "/new", "c", None])
    converse(answer, lambda: next(lines), replies.append, remembers)
    assert prompts_given == prompts
    assert replies == ["A", "B", "C"]
