"""Written parts: refuses a rendered text in which the chat template left a part of the conversation out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.formats.conversation import Conversation, Turn


def expect_written(conversation: Conversation, text: str, spans: Mapping[int, tuple[int, int]]) -> None:
    """Raises `DataError` where a part of a message is not in `text`.

    `spans` are the answers in the loss, by number, and the (start, end) of `text` in which each must stand. Answers
    without a place are context: a template may leave out what was thought in them. White space may change.
    """
    for number, turn in enumerate(conversation.turns):
        if turn.role == "assistant" and number not in spans:
            continue
        start, end = spans.get(number, (0, len(text)))
        for part in turn.parts:
            if part and text.find(part.strip(), start, end) < 0:
                _expect(part, "", text[start:end], conversation, number)
        if turn.reasoning or turn.name or turn.calls:
            for label, part in _beside_content(turn):
                _expect(part, label, text[start:end], conversation, number)


def _beside_content(turn: Turn) -> Iterator[tuple[str, str]]:
    if turn.reasoning:
        yield "reasoning_content", turn.reasoning
    if turn.name and turn.role != "tool":
        yield "name", turn.name
    for call in turn.calls:
        for part in _texts(call.arguments):
            yield f"an argument of {call.name}", part


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _expect(part: str, label: str, text: str, conversation: Conversation, number: int) -> None:
    if part.strip() in text:
        return
    written = _bare(text)
    if any(_bare(form) in written for form in _forms(part)):
        return
    missing = [token for token in part.split() if token not in text] or part.split()
    total = sum(map(len, part.split()))
    message = f"message {number + 1}"
    source = f"{label} of {message}" if label else f"{message}, by the {conversation.turns[number].role}"
    raise DataError(
        f"{conversation.location}: data.template: the chat template does not write {sum(map(len, missing))} of {total} "
        f"characters of {source} ({missing[0][:40]!r} is not there), so they would be dropped. Use a template that "
        "writes them, such as data.template=chatml, or take them out of the row."
    )


def _forms(part: str) -> Iterator[str]:
    """As it stands, and as it stands inside of JSON, in either spelling of what is not ASCII."""
    yield part
    yield json.dumps(part, ensure_ascii=False)[1:-1]
    yield json.dumps(part)[1:-1]


def _bare(text: str) -> str:
    return "".join(text.split())
