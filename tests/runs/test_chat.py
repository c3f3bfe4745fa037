"""Does a chat remember what was said only where training had conversations of several questions?"""

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
from tunefleet.runs import use

PAIR = [{"role": "user", "content": "play jazz"}, {"role": "assistant", "content": "ok"}]
ONE = {"messages": [{"role": "system", "content": "be short"}, *PAIR]}
TWO = {"messages": [*PAIR, *PAIR]}


def questions(folder: Path, rows: list[Any], **settings: Any) -> int:
    """What the card of the training rows says."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = DataConfig(path=str(folder / "rows.jsonl"), validation_rows=0, cache=str(folder / "cache"), **settings)
    words = tokenizer.load(str(BUILT_IN_TOKENIZERS["demo"]), "opt")
    return prepare.prepare(config, words, 64).train.card.questions


@pytest.mark.parametrize(
    ("rows", "expected"), [([ONE] * 3, 1), ([ONE, TWO, ONE], 2), ([{"text": "once upon a time"}], 0)]
)
def test_the_card_says_how_many_questions_a_conversation_has(tmp_path: Path, rows: list[Any], expected: int) -> None:
    assert questions(tmp_path, rows, template="plain") == expected


@pytest.mark.parametrize(("said", "expected"), [({"questions": 1}, True), ({"questions": 2}, False), ({}, False)])
def test_a_run_knows_it(tmp_path: Path, said: dict[str, int], expected: bool) -> None:
    plan = tiny_plan(tmp_path)
    assert not use.single_turns(plan)  # a run of before
    files.write_json(plan.paths.data, said)
    assert use.single_turns(plan) is expected


class _Tokenizer:
    def apply_chat_template(self, messages: list[dict[str, str]], **settings: Any) -> str:
        return "|".join(message["content"] for message in messages)


@pytest.mark.parametrize(
    ("single", "prompts"),
    [
        (True, ["a", "b", "c"]),
        (False, ["a", "a|A|b", "c"]),
    ],
)
def test_what_the_model_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: bool, prompts: list[str]
) -> None:
    """The demo's second question stood behind its first one, which no training row ever did."""
    plan, asked, said = tiny_plan(tmp_path), list[str](), list[str]()
    files.write_json(plan.paths.data, {"questions": 1 if single else 3})

    def answer(model: Any, group: Any, words: Any, texts: list[str], limits: Any) -> list[str]:
        asked.extend(texts)
        return [texts[0][-1].upper()]

    monkeypatch.setattr(use, "_model", lambda plan: None)
    monkeypatch.setattr(use, "exported", lambda plan: tmp_path)
    monkeypatch.setattr(use, "AutoTokenizer", type("", (), {"from_pretrained": lambda *a, **k: _Tokenizer()}))
    monkeypatch.setattr(use.prepare, "own_template", lambda words: None)
    monkeypatch.setattr(use.parts, "stops", lambda template, words: ())
    monkeypatch.setattr(use, "answers", answer)
    lines = iter(["a", "b", "/new", "c", None])
    use.chat(plan, lambda: next(lines), said.append)
    assert asked == prompts
    assert said == ["A", "B", "C"]
