"""What does a chat ask its models: earlier messages where training had them, the system prompt, each its own?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base import files
from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import DataConfig
from tunefleet.data import prepare
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.evaluation.streamed_answer import Answer, Sampling
from tunefleet.model import tokenizer
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS
from tunefleet.runs.chat_session import ChatSession, single_turns

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


class Echo:
    """A model whose answer is its prompt in capitals; it keeps what it was asked."""

    def __init__(self, template: str = "{% for m in messages %}|{{ m.content }}{% endfor %}") -> None:
        self._template = ChatTemplate(template, {})
        self.prompts: list[str] = []

    def chat_prompt(self, messages: Sequence[Any]) -> str:
        return self._template.prompt(messages)

    def writes_system(self) -> bool:
        return "system" in self._template.source

    def ids(self, prompt: str) -> list[str]:
        return [prompt]

    def answer(self, prompt: list[str], sampling: Sampling, put: Callable[[str], None]) -> Answer:
        self.prompts += prompt
        text = f" {prompt[0].rpartition('|')[2].upper()} "
        put(text)
        return Answer(text, 1, "stop")


def session(*models: Echo, **settings: Any) -> ChatSession:
    labelled: dict[str, Any] = {str(number): model for number, model in enumerate(models)}
    return ChatSession(labelled, Sampling(), **settings)


def asks(chat: ChatSession, *questions: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    for question in questions:
        chat.answer(question, lambda label, piece: pieces.append((label, piece)))
    return pieces


@pytest.mark.parametrize(("remembers", "prompts"), [(False, ["|a", "|b", "|c"]), (True, ["|a", "|a|A|b", "|c"])])
def test_what_the_model_is_asked(remembers: bool, prompts: list[str]) -> None:
    """The demo's second question stood behind its first one, which no training row ever did."""
    model = Echo()
    chat = session(model, remembers=remembers)
    assert asks(chat, "a", "b") == [("0", "A "), ("0", "B ")]
    chat.clear()
    asks(chat, "c")
    assert model.prompts == prompts


def test_undo_takes_the_last_exchange_back() -> None:
    model = Echo()
    chat = session(model)
    asks(chat, "a", "b")
    assert chat.undo()
    asks(chat, "c")
    assert model.prompts[-1] == "|a|A|c"
    assert (chat.undo(), chat.undo(), chat.undo()) == (True, True, False)


def test_a_system_prompt_comes_first_and_is_refused_where_no_template_writes_it() -> None:
    model = Echo("{% for m in messages %}|{{ m.role if m.role == 'system' }}{{ m.content }}{% endfor %}")
    chat = session(model, remembers=False)
    chat.set_system("be brief")
    asks(chat, "a")
    assert model.prompts == ["|systembe brief|a"]
    assert chat.rows() == [
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "A"},
            ]
        }
    ]
    other = session(Echo())
    with pytest.raises(ConfigError, match="writes no system prompt"):
        other.set_system("be brief")
    other.set_system("")
    assert asks(other, "a") == [("0", "A ")]


def test_a_question_that_cannot_be_rendered_is_not_remembered() -> None:
    model = Echo("{% if messages|length > 1 %}{{ raise_exception('one question') }}{% endif %}x")
    chat = session(model)
    asks(chat, "a")
    with pytest.raises(DataError, match="one question"):
        asks(chat, "b")
    assert [question["content"] for question, _ in chat.exchanges] == ["a"]


def test_models_beside_each_other_have_conversations_of_their_own() -> None:
    first, second = Echo(), Echo("{% for m in messages %}|{{ m.content }}!{% endfor %}")
    chat = session(first, second)
    assert asks(chat, "a", "b") == [("0", "A "), ("1", "A! "), ("0", "B "), ("1", "B! ")]
    assert (first.prompts[-1], second.prompts[-1]) == ("|a|A|b", "|a!|A!!|b!")
    assert [row["model"] for row in chat.rows()] == ["0", "1"]
