"""Is a key with a meaning honoured or refused by name, at every level of a row, and an unknown one told once?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import Format, SourceConfig
from tunefleet.data.formats import keys
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.formats.conversation_reader import Reader
from tunefleet.data.formats.recognise_format import UnknownFormat
from tunefleet.data.read.source_row import Media, Row

LOCATION = "rows.jsonl:7"
QUESTION = {"role": "user", "content": "Sky?"}
ANSWER = {"role": "assistant", "content": "Blue"}
CONVERSATION = {"messages": [QUESTION, ANSWER]}
ROWS: dict[Format, dict[str, Any]] = {
    Format.MESSAGES: CONVERSATION,
    Format.SHAREGPT: {"conversations": [{"from": "human", "value": "Sky?"}, {"from": "gpt", "value": "Blue"}]},
    Format.ALPACA: {"instruction": "Sky?", "output": "Blue"},
    Format.PROMPT_COMPLETION: {"prompt": "Sky?", "completion": "Blue"},
    Format.CHOSEN: {"prompt": "Sky?", "chosen": "Blue", "rejected": "Red"},
    Format.TREE: {"role": "prompter", "text": "Sky?", "replies": [{"role": "assistant", "text": "Blue"}]},
    Format.PARALLEL: {"source": "Sky", "target": "Himmel"},
    Format.LABELLED: {"text": "Sky?", "label": "nature"},
    Format.TEXT: {"text": "Blue sky."},
}
CONVERSATIONS = [Format.MESSAGES, Format.SHAREGPT, Format.ALPACA, Format.PROMPT_COMPLETION, Format.CHOSEN]
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


def read(values: dict[str, Any], **settings: Any) -> Conversation:
    settings.setdefault("instruction", "{text}" if {"text", "label"} <= values.keys() else None)
    return Reader(SourceConfig(**settings)).conversations(Row(values, LOCATION))[0]


def answer(**changes: Any) -> dict[str, Any]:
    return {"messages": [QUESTION, {**ANSWER, **changes}]}


# Honoured


@pytest.mark.parametrize("format", CONVERSATIONS)
def test_system_and_tools_are_read_beside_every_conversation(format: Format) -> None:
    actual = read({**ROWS[format], "system": "Be brief.", "tools": [TOOL]})
    assert [(turn.role, turn.content) for turn in actual.turns] == [
        ("system", "Be brief."), ("user", "Sky?"), ("assistant", "Blue"),
    ]  # fmt: skip
    assert actual.tools == ({"type": "function", "function": TOOL},)
    assert read({**ROWS[format], "functions": [TOOL]}).tools == actual.tools


def test_a_system_text_that_stands_there_already_is_not_doubled() -> None:
    listed = [{"role": "system", "content": "Be brief."}, *CONVERSATION["messages"]]
    assert len(read({"system": "Be brief.", "messages": listed}).turns) == 3
    with pytest.raises(DataError, match="a first system message differ"):
        read({"system": "Be long.", "messages": listed})


@pytest.mark.parametrize("key", keys.TURN_WEIGHTS)
@pytest.mark.parametrize("value", [False, 0])
def test_every_spelling_of_leaving_an_answer_out_of_the_loss(key: str, value: Any) -> None:
    assert [turn.in_loss for turn in read(answer(**{key: value})).turns] == [True, False]
    assert all(turn.in_loss for turn in read(answer(**{key: True})).turns)
    assert all(turn.in_loss for turn in read(answer(**{key: None})).turns)


@pytest.mark.parametrize("format", CONVERSATIONS)
def test_nemo_s_mask_leaves_the_user_s_messages_out_of_the_loss(format: Format) -> None:
    assert [turn.in_loss for turn in read({**ROWS[format], "mask": "User"}).turns] == [False, True]
    assert [turn.in_loss for turn in read({**ROWS[format], "mask": False}).turns] == [True, True]
    for mask in ("Assistant", ["User"], True):
        with pytest.raises(DataError, match="the key 'mask' is not read: which tokens are in the loss"):
            read({**ROWS[format], "mask": mask})


def test_a_mask_in_a_message_is_refused() -> None:
    with pytest.raises(DataError, match="message 2: the key 'mask' is not read"):
        read(answer(mask="User"))


@pytest.mark.parametrize("key", ["train", "training", "loss"])
def test_a_question_that_is_to_be_learnt_is_refused(key: str) -> None:
    with pytest.raises(DataError, match=f"message 1: {key} is True and only answers"):
        read({"messages": [{**QUESTION, key: True}, ANSWER]})
    assert read({"messages": [{**QUESTION, key: False}, ANSWER]})


@pytest.mark.parametrize("key", keys.REASONING)
def test_every_spelling_of_reasoning_reaches_the_template(key: str) -> None:
    assert read(answer(**{key: "Look up."})).messages[1]["reasoning_content"] == "Look up."
    with pytest.raises(DataError, match=f"only the assistant thinks, and this message has {key}"):
        read({"messages": [{**QUESTION, key: "Hm."}, ANSWER]})


def test_a_function_call_beside_content_is_a_call() -> None:
    actual = read(answer(function_call={"name": "weather", "arguments": '{"city": "Rome"}'}))
    assert actual.turns[1].content == "Blue"
    assert [(call.name, call.arguments) for call in actual.turns[1].calls] == [("weather", {"city": "Rome"})]
    call_alone = {"messages": [QUESTION, {"role": "assistant", "content": None, "function_call": {"name": "weather"}}]}
    assert [call.name for call in read(call_alone).turns[1].calls] == ["weather"]


@pytest.mark.parametrize("format", [f for f in CONVERSATIONS if f is not Format.CHOSEN])
@pytest.mark.parametrize("label", [False, "false", "False"])
def test_an_answer_that_is_no_good_example_is_not_in_the_loss(format: Format, label: Any) -> None:
    assert [turn.in_loss for turn in read({**ROWS[format], "label": label}).turns if turn.role == "assistant"] == [
        False
    ]
    assert read({**ROWS[format], "label": True}).turns[-1].in_loss
    with pytest.raises(DataError, match=r"label is 3; here it says whether the answer is a good example"):
        read({**ROWS[format], "label": 3})
    assert read({**ROWS[format], "label": 3}, ignore_columns=("label",)).turns[-1].in_loss


def test_a_history_is_read_beside_a_prompt() -> None:
    actual = read({**ROWS[Format.PROMPT_COMPLETION], "history": [["Sea?", "Green"]]})
    assert [turn.content for turn in actual.turns] == ["Sea?", "Green", "Sky?", "Blue"]


def test_prompt_and_completion_may_be_messages() -> None:
    assert read({"prompt": [QUESTION], "completion": [ANSWER]}).messages == CONVERSATION["messages"]


# Refused by name


@pytest.mark.parametrize("format", [f for f in ROWS if f not in CONVERSATIONS])
@pytest.mark.parametrize("key", ["system", "tools", "history", "weight", "images", "rejected", "chat_template_kwargs"])
def test_what_a_format_has_no_place_for_is_refused(format: Format, key: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"{LOCATION}: the key {key!r} is not read")):
        read({**ROWS[format], key: ["x"]})
    assert read({**ROWS[format], key: None})
    assert read({**ROWS[format], key: ["x"]}, ignore_columns=(key,))


@pytest.mark.parametrize("format", ROWS)
def test_pictures_are_refused_whatever_their_column_is_called(format: Format) -> None:
    for key in ("images", "audio", "videos"):
        with pytest.raises(DataError, match=f"the key '{key}' is not read: pictures, sound and video"):
            read({**ROWS[format], key: ["a.png"]})
    with pytest.raises(DataError, match="'img' holds Image"):
        read({**ROWS[format], "img": Media("Image")})


@pytest.mark.parametrize("format", [Format.MESSAGES, Format.SHAREGPT, Format.CHOSEN])
def test_a_history_beside_messages_is_refused(format: Format) -> None:
    with pytest.raises(DataError, match="the key 'history' is not read"):
        read({**ROWS[format], "history": [["a", "b"]]})


@pytest.mark.parametrize("key", sorted(keys.MESSAGE.refused))
def test_what_no_message_may_hold_is_refused(key: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"{LOCATION}: message 2: the key {key!r} is not read")):
        read(answer(**{key: "x"}))
    assert read(answer(**{key: None}))


def test_a_part_with_a_picture_is_refused() -> None:
    with pytest.raises(DataError, match="the key 'image' is not read"):
        read(answer(content=[{"type": "text", "text": "a", "image": "b.png"}]))


@pytest.mark.parametrize(
    ("call", "key"),
    [
        ({"name": "weather", "parameters": {"city": "Rome"}}, "parameters"),
        ({"function": {"name": "weather", "arguments": {}, "args": {"city": "Rome"}}}, "args"),
        ({"type": "function", "function": {"name": "weather"}, "result": "sunny"}, "result"),
    ],
)
def test_a_call_holds_nothing_that_is_not_known(call: dict[str, Any], key: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"message 2: tool call 1: the key {key!r} is not read")):
        read(answer(tool_calls=[call]))


def test_two_spellings_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match="content and value differ"):
        read(answer(value="Green"))
    assert read(answer(value="Blue"))
    with pytest.raises(DataError, match="differ"):
        read(answer(thinking="a", reasoning_content="b"))


def test_a_question_does_not_call() -> None:
    with pytest.raises(DataError, match="only the assistant calls functions"):
        read({"messages": [{**QUESTION, "tool_calls": [{"function": {"name": "a"}}]}, ANSWER]})


def test_a_conversation_that_begins_with_an_answer_says_so() -> None:
    with pytest.raises(DataError, match="the conversation begins with an answer"):
        read({"messages": [ANSWER, QUESTION, ANSWER]})


# Columns of two formats


def test_columns_of_another_format_are_refused_unless_the_conversation_holds_them() -> None:
    with pytest.raises(DataError, match="the column 'completion' would be dropped: this is read as messages"):
        read({**CONVERSATION, "prompt": "Sky?", "completion": "Red, for once"})
    assert read({**CONVERSATION, "prompt": "Sky?"})  # ultrachat: the first question once more
    assert read({**ROWS[Format.ALPACA], "text": "Below is ... Sky? ### Response: Blue"})  # tatsu-lab/alpaca on the hub
    assert read({**CONVERSATION, "source": "magpie"})  # means something with a target alone
    with pytest.raises(DataError, match="would be dropped"):
        read({**CONVERSATION, "source": "Sky", "target": "Himmel"})
    assert read({**CONVERSATION, "prompt": "Sea?", "completion": "Green"}, format=Format.MESSAGES)


def test_texts_with_labels_are_nobodys_task_until_somebody_says() -> None:
    imdb = {"text": "A film.", "label": 1}
    with pytest.raises(UnknownFormat, match=r"data\.format=text .* or data\.format=labelled"):
        read(imdb, instruction=None)
    assert read(imdb, format=Format.TEXT, instruction=None).turns[0].content == "A film."
    assert read(imdb, label_names=("bad", "good"), instruction=None).turns[1].content == "good"


# Unknown keys


def test_unknown_keys_that_carry_text_are_told_once() -> None:
    reader = Reader(SourceConfig())
    for number in (7, 8):
        row = {
            "messages": [QUESTION, {**ANSWER, "mood": "calm", "score": 3}],
            "topic": {"of": ["sky"]},
            "id": "a",
            "n": 1,
        }
        reader.conversations(Row(row, f"rows.jsonl:{number}"))
    assert reader.unread == {"column topic": "rows.jsonl:7", "message key mood": "rows.jsonl:7: message 2"}


def test_columns_that_are_ignored_must_be_there() -> None:
    reader = Reader(SourceConfig(ignore_columns=("topic",)))
    reader.conversations(Row({**CONVERSATION, "topic": "sky"}, LOCATION))
    reader.finish()
    assert not reader.unread
    second = Reader(SourceConfig(ignore_columns=("topc",)))
    second.conversations(Row(CONVERSATION, LOCATION))
    with pytest.raises(ConfigError, match=r"data\.ignore_columns: no row has 'topc'"):
        second.finish()


# Half characters


@pytest.mark.parametrize(
    "values",
    [
        answer(tool_calls=[{"function": {"name": "w", "arguments": {"city": "\ud83d"}}}]),
        answer(tool_calls=[{"function": {"name": "w", "arguments": {"\ud83d": "Rome"}}}]),
        answer(tool_calls=[{"function": {"name": "w", "arguments": json.dumps({"city": "\ud83d"})}}]),
        answer(tool_calls=[{"id": "\ud83d", "function": {"name": "w"}}]),
        answer(name="\ud83d"),
        answer(reasoning_content="\ud83d"),
        {**CONVERSATION, "system": "\ud83d"},
        {**CONVERSATION, "tools": [{**TOOL, "description": "\ud83d"}]},
        {**CONVERSATION, "tools": json.dumps([{**TOOL, "description": "\ud83d"}])},
    ],
)
def test_half_a_character_anywhere_is_a_bad_row(values: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=rf"{LOCATION}.*half a character"):
        read(values)


def test_the_list_of_known_keys_covers_every_format() -> None:
    assert set(keys.ROWS) == set(Format) - {Format.AUTO}
    for format, values in ROWS.items():
        assert values.keys() <= keys.ROWS[format].read


def test_files_are_read_with_half_characters_and_double_keys_named(tmp_path: Path) -> None:
    from tunefleet.data.read.file_readers import read as rows

    path = tmp_path / "a.jsonl"
    good = json.dumps({"prompt": "\N{GRINNING FACE} \\ud83d", "completion": "b"})
    path.write_text(
        '{"prompt": "\\ud83d", "completion": "b"}\n{"prompt": "a", "prompt": "b", "completion": "c"}\n' + good
    )
    actual = list(rows(path, SourceConfig()))
    assert [str(row).partition(":")[2].split(": ")[0] for row in actual[:2]] == ["1", "2"]
    assert "half a character" in str(actual[0])
    assert "the key 'prompt' stands twice" in str(actual[1])
    assert isinstance(actual[2], Row)
    assert actual[2].values["prompt"] == "\N{GRINNING FACE} \\ud83d"
    listed = tmp_path / "a.json"
    listed.write_text('[{"prompt": "a", "x": {"y": 1, "y": 2}},\n{"prompt": "\\ud83d"},\n{"prompt": "c"}]')
    actual = list(rows(listed, SourceConfig()))
    assert [isinstance(row, DataError) for row in actual] == [True, True, False]
