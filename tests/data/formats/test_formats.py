"""Does every kind of row become the conversation it stands for, and is what cannot be one refused by name?"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shared import shared_data
from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import COLUMNS, Format, SourceConfig
from tunefleet.data.formats.conversation import Conversation, ToolCall, Turn
from tunefleet.data.formats.conversation_reader import Reader
from tunefleet.data.formats.recognise_format import KEYS, UnknownFormat, recognise
from tunefleet.data.read.row_fields import find
from tunefleet.data.read.source_row import Row
from tunefleet.data.read.sources import Source

LOCATION = "rows.jsonl:7"
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
SHAREGPT = {
    "system": "Be brief.",
    "conversations": [{"from": "human", "value": "Add 2 and 3."}, {"from": "gpt", "value": "5"}],
}
QUESTION = {"role": "user", "content": "Add 2 and 3."}
CHOSEN_ROW = {"prompt": "Add 2 and 3.", "chosen": "5", "rejected": "6"}
TREE = {
    "message_tree_id": "1",
    "prompt": {
        "role": "prompter",
        "text": "Add 2 and 3.",
        "replies": [
            {"role": "assistant", "text": "deleted", "rank": 0, "deleted": True, "replies": []},
            {"role": "assistant", "text": "6", "rank": None, "replies": []},
            {"role": "assistant", "text": "5", "rank": 1, "replies": [{"role": "prompter", "text": "Thanks."}]},
            {"role": "assistant", "text": "7", "rank": 2, "replies": []},
        ],
    },
}
PARALLEL = {"source": "Guten Tag", "target": "Good day"}
LABELLED = {"text": "Will it rain?", "label": "weather"}
ADDED = [("user", "Add 2 and 3."), ("assistant", "5")]


def read(values: dict[str, Any], format: Format = Format.AUTO, **settings: Any) -> Conversation:
    (actual,) = Reader(SourceConfig(format=format, **settings)).conversations(Row(values, LOCATION))
    return actual


def turns(values: dict[str, Any], format: Format = Format.AUTO, **settings: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in read(values, format, **settings).turns]


EXPECTED: list[tuple[Format, dict[str, Any], list[tuple[str, str]]]] = [
    (Format.ALPACA, ALPACA, [("user", "Add.\n\n2 and 3"), ("assistant", "5")]),
    (Format.PROMPT_COMPLETION, PAIR, ADDED),
    (Format.MESSAGES, MESSAGES, [(m["role"], m["content"]) for m in MESSAGES["messages"]]),  # type: ignore[index]
    (Format.SHAREGPT, SHAREGPT, [("system", "Be brief."), *ADDED]),
    (Format.CHOSEN, CHOSEN_ROW, ADDED),
    (Format.TREE, TREE, ADDED),
    (Format.TREE, TREE["prompt"], ADDED),  # type: ignore[list-item]
    (Format.TREE, {"tree": TREE["prompt"]}, ADDED),
    (Format.PARALLEL, PARALLEL, [("user", "Guten Tag"), ("assistant", "Good day")]),
    (Format.LABELLED, LABELLED, [("user", "Will it rain?"), ("assistant", "weather")]),
    (Format.TEXT, {"text": "Once."}, [("text", "Once.")]),
]


@pytest.mark.parametrize(("format", "values", "expected"), EXPECTED, ids=[f.value for f, _, _ in EXPECTED])
def test_each_format_by_name_and_by_itself(
    format: Format, values: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert recognise(Row(values, LOCATION)) is format
    assert turns(values, format) == expected
    assert turns(values, **({"instruction": "{text}"} if format is Format.LABELLED else {})) == expected
    assert read(values, format).location == LOCATION


def test_every_format_is_tested() -> None:
    assert {format for format, _, _ in EXPECTED} == set(Format) - {Format.AUTO}
    assert set(COLUMNS) == {format for format, _ in KEYS} == set(Format) - {Format.AUTO}


@pytest.mark.parametrize("without", [{"input": ""}, {"input": None}, {}], ids=["empty", "null", "missing"])
def test_alpaca_without_an_input_is_the_instruction_alone(without: dict[str, Any]) -> None:
    values = {"instruction": "Sing.", "output": "La.", **without}
    assert turns(values) == [("user", "Sing."), ("assistant", "La.")]


def test_alpaca_with_a_history_and_a_system_message() -> None:
    actual = turns({**ALPACA, "history": [["Hi.", "Hello."]], "system": "Be brief."})
    assert [role for role, _ in actual] == ["system", "user", "assistant", "user", "assistant"]
    assert actual[1:3] == [("user", "Hi."), ("assistant", "Hello.")]


def test_lists_of_prompts_and_completions_take_turns() -> None:
    actual = turns({"prompt": ["a", "c"], "completion": ["b", "d"]})
    assert actual == [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]


def test_other_columns_are_left_alone() -> None:
    assert turns({**PAIR, "id": 3, "origin": None}) == turns(PAIR)


def test_the_named_format_wins_over_recognition() -> None:
    ambiguous = {**MESSAGES, **PAIR}
    assert recognise(Row(ambiguous, LOCATION)) is Format.MESSAGES
    assert turns(ambiguous, Format.PROMPT_COMPLETION) == turns(PAIR)


def test_white_space_of_content_is_kept() -> None:
    assert turns({"prompt": " a\n", "completion": "\tb "}) == [("user", " a\n"), ("assistant", "\tb ")]


def test_question_and_answer_are_about_the_last_answer() -> None:
    actual = read(MESSAGES)
    assert actual.answer == "6"
    assert [message["content"] for message in actual.question] == ["Be brief.", "Add 2 and 3.", "5", "And 1?"]
    ends_with_user = Conversation((Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")), LOCATION)
    assert (ends_with_user.answer, len(ends_with_user.question)) == ("b", 1)


# Chosen answers


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"conversations": [QUESTION], "chosen": {"from": "gpt", "value": "5"}}, id="one message"),
        pytest.param({"prompt": [QUESTION], "chosen": [{"role": "assistant", "content": "5"}]}, id="messages"),
        pytest.param({"chosen": [QUESTION, {"role": "assistant", "content": "5"}]}, id="all in chosen"),
        pytest.param({"prompt": "x", "chosen": [QUESTION, {"role": "assistant", "content": "5"}]}, id="question twice"),
    ],
)
def test_every_way_to_choose_an_answer(values: dict[str, Any]) -> None:
    assert turns(values) == ADDED


# Roles, parts and tools


@pytest.mark.parametrize(
    ("foreign_role", "ours"),
    [("human", "user"), ("User", "user"), ("GPT", "assistant"), ("developer", "system"), ("observation", "tool")],
)
def test_roles_have_many_names(foreign_role: str, ours: str) -> None:
    listed = [QUESTION, {"role": foreign_role, "content": "a"}, {"role": "model", "content": "b"}]
    assert turns({"messages": listed})[1] == (ours, "a")


def test_parts_of_a_message_are_joined_and_reasoning_stands_in_think() -> None:
    content = [{"type": "reasoning", "value": "Sum."}, {"type": "text", "text": "5"}]
    assert turns({"messages": [QUESTION, {"role": "assistant", "content": content}]})[1:] == [
        ("assistant", "<think>\nSum.\n</think>\n\n5")
    ]


WEATHER = {"name": "weather", "description": "Says it.", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": WEATHER}
CALL = ToolCall("weather", {"city": "Bonn"})
CALLED = {
    "openai": {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}
    ]},
    "arguments as an object": {"role": "assistant", "tool_calls": [
        {"function": {"name": "weather", "arguments": {"city": "Bonn"}}}
    ]},
    "sharegpt": {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Bonn"}}'},
    "parts": {"role": "assistant", "content": [
        {"type": "tool_call", "value": '{"name": "weather", "arguments": {"city": "Bonn"}}'}
    ]},
}  # fmt: skip


@pytest.mark.parametrize("called", CALLED.values(), ids=CALLED)
@pytest.mark.parametrize(
    "tools", [[WRAPPED], [WEATHER], f"[{WRAPPED}]".replace("'", '"')], ids=["list", "bare", "text"]
)
def test_every_way_to_call_a_tool(called: dict[str, Any], tools: Any) -> None:
    listed = [{"role": "user", "content": "Rain?"}, called, {"role": "tool", "content": "No.", "tool_call_id": "c1"}]
    actual = read({"messages": listed, "tools": tools})
    call = actual.turns[1].calls[0]
    assert (call.name, call.arguments) == (CALL.name, CALL.arguments)
    assert actual.tools == (WRAPPED,)
    assert actual.messages[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Bonn"}}
    assert actual.messages[2] == {"role": "tool", "content": "No.", "tool_call_id": "c1"}
    assert actual.answer == '{"name": "weather", "arguments": {"city": "Bonn"}}'


def test_a_call_keeps_its_id() -> None:
    actual = read({"messages": [QUESTION, CALLED["openai"]]})
    assert actual.messages[1]["tool_calls"][0]["id"] == "c1"


# Columns


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("a", 1),
        ("b.c", 2),
        ("d.1.e", 4),
        ("f.g", 5),  # a column may have a dot in its name
        ("d.*.s", "xy"),
        ("w.*", "ab"),
    ],
)
def test_a_column_may_lie_inside_another(column: str, value: Any) -> None:
    row = {"a": 1, "b": {"c": 2}, "d": [{"e": 3, "s": "x"}, {"e": 4, "s": "y"}], "f.g": 5, "w": ["a", "b"]}
    assert find(row, column) == value


@pytest.mark.parametrize("column", ["x", "b.x", "d.9", "d.x", "a.b", "d.*.e", "b.*"])
def test_a_column_that_is_not_there(column: str) -> None:
    row = {"a": 1, "b": {"c": 2}, "d": [{"e": 3}]}
    with pytest.raises(DataError, match="no column 'completion'; it has"):
        read({"prompt": "a", **row}, columns={"completion": column})


def test_columns_can_be_named() -> None:
    values = {"question": "Add 2 and 3.", "meta": {"answers": ["5", "6"]}}
    assert turns(values, columns={"prompt": "question", "completion": "meta.answers.0"}) == ADDED


def test_a_named_column_wins_over_one_of_that_name() -> None:
    assert turns({**PAIR, "other": "6"}, columns={"completion": "other"})[1] == ("assistant", "6")


def test_a_column_that_no_row_has_is_named_at_the_end() -> None:
    reader = Reader(SourceConfig(columns={"input": "contxt", "output": "answer"}))
    reader.conversations(Row({"instruction": "a", "answer": "b", "context": "c"}, LOCATION))
    with pytest.raises(ConfigError, match=r"data\.columns\.input: no row has 'contxt'\."):
        reader.finish()


# Tasks


def test_a_translation_is_asked_in_both_directions() -> None:
    reader = Reader(SourceConfig(instruction="To English: {source}", instruction_back="To German: {target}"))
    forward, back = reader.conversations(Row(PARALLEL, LOCATION))
    assert [turn.content for turn in forward.turns] == ["To English: Guten Tag", "Good day"]
    assert [turn.content for turn in back.turns] == ["To German: Good day", "Guten Tag"]


def test_braces_in_a_sentence_are_no_places() -> None:
    assert turns({**PARALLEL, "source": "{target}"}, instruction="{{x}} {source}")[0] == ("user", "{x} {target}")


@pytest.mark.parametrize("label", [1, "1", "yes", True])
def test_a_label_is_a_word_or_its_number(label: Any) -> None:
    actual = turns({"text": "a", "label": label}, label_names=("no", "yes"), instruction="One of {labels}: {text}")
    assert actual == [("user", "One of no, yes: a"), ("assistant", "yes")]


def test_names_of_labels_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    assert turns({"text": "a", "label": 0}, label_file=str(tmp_path / "labels.txt"))[1] == ("assistant", "no")


@pytest.mark.parametrize(
    ("label", "names", "said"),
    [
        (3, ("no", "yes"), "label is 3, but there are 2 names"),
        (-1, ("no", "yes"), "label is -1, but there are 2 names"),
        ("maybe", ("no", "yes"), "label is 'maybe', which is none of the 2 names"),
        (1, (), "label is 1, and it has no name. Give data.label_names=[...]."),
        (None, ("no", "yes"), "label is NoneType instead of int"),
        ([1], ("no", "yes"), "label is list instead of int"),
    ],
)
def test_a_label_without_a_name_is_refused(label: Any, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"{LOCATION}: {said}")):
        read({"text": "a", "label": label}, Format.LABELLED, label_names=names)


# Slots

PARTS = [{"text": "Weather in "}, {"text": "Paris ", "entity": "city"}, {"text": "and "}]


@pytest.mark.parametrize(
    ("parts", "slots"),
    [
        (PARTS, {"city": "Paris"}),
        ([*PARTS, {"text": "Rome", "entity": "city"}, {"text": "!", "entity": None}], {"city": ["Paris", "Rome"]}),
        ([{"text": "Weather"}], {}),
    ],
)
def test_slots_are_learnt_with_the_intent(parts: Any, slots: Any) -> None:
    actual = turns({"text": "a", "label": "weather", "slots": parts})
    assert json.loads(actual[1][1]) == {"intent": "weather", "slots": slots}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("city", "slots is not a list of parts"),
        ([{"entity": "city"}], "slots is not a list of parts"),
        ([{"text": "Paris", "entity": 3}], "entity is int instead of text"),
        ([{"text": 3, "entity": "city"}], "city is int instead of text"),
    ],
)
def test_slots_of_another_shape_are_refused(parts: Any, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"{LOCATION}: {said}")):
        read({"text": "a", "label": "weather", "slots": parts})


# One source, one format


def test_the_first_row_decides_for_all() -> None:
    reader = Reader(SourceConfig())
    reader.conversations(Row(PAIR, LOCATION))
    with pytest.raises(DataError, match=r"rows\.jsonl:8: no column .* The first row is prompt_completion"):
        reader.conversations(Row(ALPACA, "rows.jsonl:8"))
    assert len(reader.conversations(Row({**PAIR, "id": 3}, LOCATION))[0].turns) == 2


def test_a_named_format_needs_no_first_row() -> None:
    reader = Reader(SourceConfig(format=Format.ALPACA))
    with pytest.raises(DataError, match="no column 'instruction'"):
        reader.conversations(Row(PAIR, LOCATION))
    assert reader.conversations(Row(ALPACA, LOCATION))


def test_an_instruction_for_a_chat_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.instruction: is for parallel and labelled rows"):
        read(PAIR, instruction="Say: {text}")


# What is refused


def message(**values: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "a"}, values]}


REFUSED: dict[str, tuple[dict[str, Any], Format, str]] = {
    "unknown keys": ({"words": "a", "class": 1}, Format.AUTO, "unknown format with keys words, class"),
    "no keys": ({}, Format.AUTO, "unknown format"),
    "unknown role": (message(role="bot", content="b"), Format.AUTO, "message 2 has the unknown role 'bot'"),
    "role that is no text": (message(role=["assistant"], content="b"), Format.AUTO, "message 2 has the unknown role"),
    "no role": (message(content="b"), Format.AUTO, "message 2 has no role and content"),
    "message is text": ({"messages": ["hello"]}, Format.AUTO, "message 1 has no role and content"),
    "unknown part": (
        message(role="assistant", content=[{"type": "image"}]),
        Format.AUTO,
        "message 2: part 1 is 'image'",
    ),
    "part without text": (message(role="assistant", content=[{"type": "text"}]), Format.AUTO, "part 1 is NoneType"),
    "content is null": (message(role="assistant", content=None), Format.AUTO, "message 2: content is NoneType"),
    "messages is text": ({"messages": "hello"}, Format.AUTO, "messages is str instead of list"),
    "no messages": ({"messages": []}, Format.AUTO, "no assistant message"),
    "no assistant": (message(role="user", content="b"), Format.AUTO, "no assistant message"),
    "empty answer": (message(role="assistant", content=" \n"), Format.AUTO, "the answer (message 2) is empty"),
    "empty completion": ({"prompt": "a", "completion": ""}, Format.AUTO, "the answer (message 2) is empty"),
    "empty text": ({"text": " "}, Format.AUTO, "the answer (message 1) is empty"),
    "empty translation": ({"source": "a", "target": ""}, Format.AUTO, "the answer (message 2) is empty"),
    "missing column": (PAIR, Format.ALPACA, "no column 'instruction'; it has prompt, completion"),
    "missing completion": ({"prompt": "a"}, Format.PROMPT_COMPLETION, "no column 'completion'"),
    "number as prompt": ({"prompt": 1, "completion": "b"}, Format.AUTO, "prompt is int instead of str"),
    "null as completion": ({"prompt": "a", "completion": None}, Format.AUTO, "completion is NoneType instead of str"),
    "list as output": ({"instruction": "a", "output": ["b"]}, Format.AUTO, "output is list instead of str"),
    "list as input": ({"instruction": "a", "input": ["x"], "output": "b"}, Format.AUTO, "input is list"),
    "zero as input": ({"instruction": "a", "input": 0, "output": "b"}, Format.AUTO, "input is int"),
    "history of texts": ({**ALPACA, "history": ["ab"]}, Format.AUTO, "history: 'ab' is no pair of question and answer"),
    "unequal turns": ({"prompt": ["a"], "completion": []}, Format.AUTO, "prompt holds 1 texts and completion 0"),
    "chosen without a question": ({"chosen": "a"}, Format.AUTO, "no column 'prompt'"),
    "tree without a role": ({"role": None, "text": "a", "replies": []}, Format.AUTO, "message 1 has no role prompter"),
    "tools that are no list": ({**MESSAGES, "tools": "{}x"}, Format.AUTO, "tools: broken JSON"),
    "tool without a name": (
        {**MESSAGES, "tools": [{"type": "function", "function": {}}]},
        Format.AUTO,
        "tool 1 has no name",
    ),
    "call without a name": (
        message(role="assistant", tool_calls=[{}]),
        Format.AUTO,
        "message 2: tool call 1 has no name",
    ),
    "call with broken arguments": (
        message(role="assistant", tool_calls=[{"function": {"name": "a", "arguments": "{"}}]),
        Format.AUTO,
        "tool call 1: arguments: broken JSON",
    ),
    "call with a list of arguments": (
        message(role="assistant", tool_calls=[{"function": {"name": "a", "arguments": [1]}}]),
        Format.AUTO,
        "tool call 1: arguments is list instead of an object",
    ),
}


@pytest.mark.parametrize(("values", "format", "complaint"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_conversation_is_refused_with_its_place(
    values: dict[str, Any], format: Format, complaint: str
) -> None:
    with pytest.raises(DataError, match=re.escape(complaint)) as raised:
        read(values, format)
    assert str(raised.value).startswith(f"{LOCATION}: ")


def test_unknown_keys_hear_what_is_known() -> None:
    with pytest.raises(UnknownFormat) as raised:
        read({"words": "a"})
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
    with pytest.raises(DataError, match=re.escape(LOCATION)):
        read(values)


@pytest.mark.parametrize(
    ("name", "format", "rows"),
    [
        ("alpaca_52k/alpaca_data.json", Format.ALPACA, 2_000),
        ("llamafactory_demo/alpaca_zh_demo.json", Format.ALPACA, 500),
        ("llamafactory_demo/identity.json", Format.ALPACA, 50),
        ("llamafactory_demo/glaive_toolcall_en_demo.json", Format.SHAREGPT, 300),
        ("llamafactory_demo/dpo_zh_demo.json", Format.CHOSEN, 300),
        ("oasst_samples/en_100_tree.jsonl", Format.TREE, 100),
        ("oasst_samples/en_100_message.jsonl", Format.TREE, 100),
    ],
)
def test_real_files_are_recognised(name: str, format: Format, rows: int) -> None:
    actual = list(Source("train", SourceConfig(path=str(shared_data(name)), max_rows=rows)).rows())
    assert len(actual) > 10
    assert {recognise(row) for row in actual if isinstance(row, Row)} == {format}


def test_real_calls_are_calls() -> None:
    path = shared_data("llamafactory_demo/glaive_toolcall_en_demo.json")
    rows = Source("train", SourceConfig(path=str(path))).rows()
    reader = Reader(SourceConfig())
    actual = [c for row in rows if isinstance(row, Row) for c in reader.conversations(row)]
    assert sum(len(turn.calls) for c in actual for turn in c.turns) == 211
    assert sum(turn.role == "tool" for c in actual for turn in c.turns) == 211
    assert sum(not c.tools for c in actual) == 109


# Anything at all

JUNK: list[Any] = [
    None,
    True,
    3,
    0.5,
    "",
    "x",
    "{",
    "[1]",
    [],
    [1],
    ["x"],
    [None],
    [[]],
    [{}],
    {},
    {"x": 1},
    {"name": 1},
]
TOOLS = {"messages": [QUESTION, CALLED["openai"], CALLED["parts"]], "tools": [WRAPPED]}
ROWS: list[dict[str, Any]] = [*(values for _, values, _ in EXPECTED), TOOLS, {**ALPACA, "history": [["a", "b"]]}]


def spoilt(value: Any) -> Iterator[Any]:
    """`value` with each part of it, at any depth, replaced by junk or left out."""
    yield from JUNK
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    for key, part in list(parts):
        for second in spoilt(part):
            changed = copy.copy(value)
            changed[key] = second
            yield changed
        yield (
            {k: v for k, v in value.items() if k != key} if isinstance(value, dict) else value[:key] + value[key + 1 :]
        )


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_whatever_a_row_holds_it_is_read_or_refused_with_its_place(number: int) -> None:
    refused = 0
    for values in spoilt(ROWS[number]):
        if isinstance(values, dict):
            for format in (Format.AUTO, recognise(Row(ROWS[number], LOCATION))):
                try:
                    assert all(
                        isinstance(t.content, str)
                        for conversation in read_all(values, format)
                        for t in conversation.turns
                    )
                except DataError as error:
                    assert str(error).startswith(LOCATION)  # noqa: PT017
                    refused += 1
    assert refused > 20


def read_all(values: dict[str, Any], format: Format) -> list[Conversation]:
    reader = Reader(SourceConfig(format=format, label_names=("weather",)))
    return reader.conversations(Row(values, LOCATION))


# The weight of a message


def weighed(key: str, role: str, said: str, weight: Any) -> dict[str, Any]:
    names = ("role", "content") if key == "messages" else ("from", "value")
    pairs = [("user", "Rain?"), (role, said), ("assistant", "No.")]
    rows = [dict(zip(names, pair, strict=True)) for pair in pairs]
    return {key: [rows[0], {**rows[1], "weight": weight}, rows[2]]}


@pytest.mark.parametrize("key", ["messages", "conversations"])
@pytest.mark.parametrize(("role", "said"), [("assistant", "Wait."), ("function_call", '{"name": "weather"}')])
def test_a_message_of_weight_nothing_does_not_learn(key: str, role: str, said: str) -> None:
    actual = read(weighed(key, role, said, 0))
    assert [turn.in_loss for turn in actual.turns] == [True, False, True]
    assert "weight" not in actual.messages[1]
    assert all(turn.in_loss for turn in read(weighed(key, role, said, 1)).turns)  # control


@pytest.mark.parametrize("key", ["messages", "conversations"])
def test_half_a_weight_is_refused_with_its_place(key: str) -> None:
    with pytest.raises(DataError, match=rf"{LOCATION}: message 2: weight is 0\.5"):
        read(weighed(key, "assistant", "Wait.", 0.5))
