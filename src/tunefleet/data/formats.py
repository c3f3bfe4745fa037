"""How a row becomes a conversation: recognised by its keys, or named by `data.format`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.data import Format
from tunefleet.data.conversation import Conversation, Turn
from tunefleet.data.sources import Row

_ROLES = ("system", "user", "assistant")


def conversation(row: Row, format: Format = Format.AUTO) -> Conversation:
    """The conversation in `row`. Raises `DataError` naming file, line and what is wrong."""
    recognised = recognise(row) if format is Format.AUTO else format
    turns = _READERS[recognised](row)
    if not any(turn.role == "assistant" for turn in turns):
        raise DataError(f"{row.where}: no assistant message, so there is nothing to learn.")
    return Conversation(turns, row.where)


def recognise(row: Row) -> Format:
    """The format whose keys `row` has: messages, then prompt/completion, then alpaca."""
    for format, needed in _KEYS.items():
        if needed <= row.values.keys():
            return format
    wanted = "; ".join(f"{', '.join(sorted(keys))} ({f.value})" for f, keys in _KEYS.items())
    raise DataError(f"{row.where}: unknown format with keys {', '.join(row.values)}. Known: {wanted}.")


def _messages(row: Row) -> tuple[Turn, ...]:
    messages = _get(row, "messages", list)
    return tuple(_message(message, number, row) for number, message in enumerate(messages, 1))


def _message(message: Any, number: int, row: Row) -> Turn:
    if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
        raise DataError(f"{row.where}: message {number} has no role and content.")
    if message["role"] not in _ROLES:
        raise DataError(
            f"{row.where}: message {number} has the unknown role {message['role']!r}. Known: {', '.join(_ROLES)}."
        )
    return Turn(message["role"], _text(message["content"], f"{row.where}: message {number}: content"))


def _prompt_completion(row: Row) -> tuple[Turn, ...]:
    return Turn("user", _get(row, "prompt", str)), Turn("assistant", _get(row, "completion", str))


def _alpaca(row: Row) -> tuple[Turn, ...]:
    instruction, answer = _get(row, "instruction", str), _get(row, "output", str)
    given = row.values.get("input")
    given = "" if given is None else _text(given, f"{row.where}: input")
    return Turn("user", f"{instruction}\n\n{given}" if given else instruction), Turn("assistant", answer)


def _get(row: Row, key: str, kind: type) -> Any:
    if key not in row.values:
        raise DataError(f"{row.where}: no column {key!r}; it has {', '.join(row.values)}.")
    value = row.values[key]
    if not isinstance(value, kind):
        raise DataError(f"{row.where}: {key} is {type(value).__name__} instead of {kind.__name__}.")
    return _text(value, f"{row.where}: {key}") if kind is str else value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where} is {type(value).__name__} instead of text.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} holds half a character ({value[error.start]!r}) at {error.start}.") from None
    return value


_KEYS = {
    Format.MESSAGES: {"messages"},
    Format.PROMPT_COMPLETION: {"prompt", "completion"},
    Format.ALPACA: {"instruction", "output"},
}
_READERS: dict[Format, Callable[[Row], tuple[Turn, ...]]] = {
    Format.MESSAGES: _messages,
    Format.PROMPT_COMPLETION: _prompt_completion,
    Format.ALPACA: _alpaca,
}
