"""Does every kind of row become the conversation it stands for, and is what cannot be one refused by name?"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.shared import shared_data
from tunefleet.base.errors import DataError
from tunefleet.config.data import Format
from tunefleet.data.conversation import Conversation, Turn
from tunefleet.data.formats import conversation, recognise
from tunefleet.data.sources import Row, Source

WHERE = "rows.jsonl:7"
ALPACA = {"instruction": "Add.", "input": "2 and 3", "output": "5"}
PAIR = {"prompt": "Add 2 and 3.", "completion": "5"}
MESSAGES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Add 2 and 3."},
        {"role": "assistant", "content": "5", "weight": 1},
        {"role": "user", "content": "And 1?"},
        {"role": "assistant", "content": "6"},
    ]
}


def read(values: dict[str, Any], format: Format = Format.AUTO) -> Conversation:
    return conversation(Row(values, WHERE), format)


def turns(values: dict[str, Any], format: Format = Format.AUTO) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in read(values, format).turns]


EXPECTED = [
    (Format.ALPACA, ALPACA, [("user", "Add.\n\n2 and 3"), ("assistant", "5")]),
    (Format.PROMPT_COMPLETION, PAIR, [("user", "Add 2 and 3."), ("assistant", "5")]),
    (Format.MESSAGES, MESSAGES, [(m["role"], m["content"]) for m in MESSAGES["messages"]]),
]


@pytest.mark.parametrize(("format", "values", "expected"), EXPECTED, ids=[f.value for f, _, _ in EXPECTED])
def test_each_format_by_name_and_by_itself(
    format: Format, values: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert recognise(Row(values, WHERE)) is format
    assert turns(values, format) == expected
    assert turns(values) == expected
    assert read(values).where == WHERE


@pytest.mark.parametrize("without", [{"input": ""}, {"input": None}, {}], ids=["empty", "null", "missing"])
def test_alpaca_without_an_input_is_the_instruction_alone(without: dict[str, Any]) -> None:
    values = {"instruction": "Sing.", "output": "La.", **without}
    assert turns(values) == [("user", "Sing."), ("assistant", "La.")]


def test_other_columns_are_left_alone() -> None:
    assert turns({**PAIR, "id": 3, "source": None}) == turns(PAIR)


def test_the_named_format_wins_over_recognition() -> None:
    both = {**MESSAGES, **PAIR}
    assert recognise(Row(both, WHERE)) is Format.MESSAGES
    assert turns(both, Format.PROMPT_COMPLETION) == turns(PAIR)


def test_white_space_of_content_is_kept() -> None:
    assert turns({"prompt": " a\n", "completion": "\tb "}) == [("user", " a\n"), ("assistant", "\tb ")]


def test_question_and_answer_are_about_the_last_answer() -> None:
    found = read(MESSAGES)
    assert found.answer == "6"
    assert [message["content"] for message in found.question] == ["Be brief.", "Add 2 and 3.", "5", "And 1?"]
    ends_with_user = Conversation((Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")), WHERE)
    assert (ends_with_user.answer, len(ends_with_user.question)) == ("b", 1)


def message(**values: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "a"}, values]}


REFUSED = {
    "unknown keys": ({"text": "a", "label": 1}, Format.AUTO, "unknown format with keys text, label"),
    "no keys": ({}, Format.AUTO, "unknown format"),
    "unknown role": (message(role="bot", content="b"), Format.AUTO, "message 2 has the unknown role 'bot'"),
    "role that is no text": (message(role=["assistant"], content="b"), Format.AUTO, "message 2 has the unknown role"),
    "no role": (message(content="b"), Format.AUTO, "message 2 has no role and content"),
    "message is text": ({"messages": ["hello"]}, Format.AUTO, "message 1 has no role and content"),
    "content in parts": (
        message(role="assistant", content=[{"type": "text"}]),
        Format.AUTO,
        "message 2: content is list",
    ),
    "content is null": (message(role="assistant", content=None), Format.AUTO, "message 2: content is NoneType"),
    "messages is text": ({"messages": "hello"}, Format.AUTO, "messages is str instead of list"),
    "no messages": ({"messages": []}, Format.AUTO, "no assistant message"),
    "no assistant": (message(role="user", content="b"), Format.AUTO, "no assistant message"),
    "missing column": (PAIR, Format.ALPACA, "no column 'instruction'; it has prompt, completion"),
    "missing completion": ({"prompt": "a"}, Format.PROMPT_COMPLETION, "no column 'completion'"),
    "number as prompt": ({"prompt": 1, "completion": "b"}, Format.AUTO, "prompt is int instead of str"),
    "null as completion": ({"prompt": "a", "completion": None}, Format.AUTO, "completion is NoneType instead of str"),
    "list as output": ({"instruction": "a", "output": ["b"]}, Format.AUTO, "output is list instead of str"),
    "list as input": ({"instruction": "a", "input": ["x"], "output": "b"}, Format.AUTO, "input is list"),
    "zero as input": ({"instruction": "a", "input": 0, "output": "b"}, Format.AUTO, "input is int"),
}


@pytest.mark.parametrize(("values", "format", "complaint"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_conversation_is_refused_with_its_place(
    values: dict[str, Any], format: Format, complaint: str
) -> None:
    with pytest.raises(DataError, match=re.escape(complaint)) as raised:
        read(values, format)
    assert str(raised.value).startswith(f"{WHERE}: ")


def test_unknown_keys_hear_what_is_known() -> None:
    with pytest.raises(DataError) as raised:
        read({"text": "a"})
    assert all(format.value in str(raised.value) for format in Format if format is not Format.AUTO)


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "half a character \ud83d", "completion": "b"},
        {"prompt": "a", "completion": "\ude00"},
        message(role="assistant", content="\ud83d"),
    ],
)
def test_half_a_character_is_refused_with_its_place(values: dict[str, Any]) -> None:
    """JSON may hold "\\ud83d" alone; no tokenizer can read it, and says so without a place."""
    with pytest.raises(DataError, match=re.escape(WHERE)):
        read(values)


@pytest.mark.parametrize(
    ("name", "format", "rows"),
    [
        ("alpaca_52k/alpaca_data.json", Format.ALPACA, 2_000),
        ("llamafactory_demo/alpaca_zh_demo.json", Format.ALPACA, 500),
        ("llamafactory_demo/identity.json", Format.ALPACA, 50),
    ],
)
def test_real_files_are_recognised(name: str, format: Format, rows: int) -> None:
    found = list(Source("train", str(shared_data(name)), limit=rows).rows())
    assert len(found) > 10
    assert {recognise(row) for row in found} == {format}
    assert all(conversation(row).turns[-1].role == "assistant" for row in found)
