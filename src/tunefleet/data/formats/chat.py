"""Chat formats: messages, ShareGPT, and a chosen answer to either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.formats import weights
from tunefleet.data.formats.conversation import ToolCall, Turn
from tunefleet.data.formats.keys import CALL, FUNCTION, REASONING, TOOLS, expect_keys
from tunefleet.data.read.row_fields import decoded, expect_characters, get, optional, optional_text, text
from tunefleet.data.read.source_row import Row

_CALL = "function_call"
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    _CALL: _CALL,
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""The role of a message, as data sets write it in small or capital letters, and what we call it."""


def messages(row: Row) -> tuple[Turn, ...]:
    """The turns of `messages`: role and content, with tool calls and weights, after the column `system`."""
    return after_system(row, _turns(get(row, "messages", list), row.location))


def sharegpt(row: Row) -> tuple[Turn, ...]:
    """The turns of `conversations`: from and value, after the column `system` if there is one."""
    return after_system(row, _turns(get(row, "conversations", list), row.location))


def chosen_answer(row: Row) -> tuple[Turn, ...]:
    """A question (`prompt` or `conversations`) and the answer in `chosen`, or all of it in `chosen`."""
    answer = messages_or_text(row, "chosen", "assistant")
    if any(turn.role == "user" for turn in answer):
        return after_system(row, answer)
    question = messages_or_text(row, "prompt" if row.values.get("conversations") is None else "conversations", "user")
    return after_system(row, question + answer)


def messages_or_text(row: Row, key: str, role: str) -> tuple[Turn, ...]:
    """The column `key`: one text of `role`, or messages."""
    if isinstance(row.values.get(key), (list, dict)):
        return _turns(row.values[key], f"{row.location}: {key}")
    return (Turn(role, get(row, key, str)),)


def tools(row: Row) -> tuple[Mapping[str, Any], ...]:
    """The functions in the column `tools` (or `functions`), each as chat templates take it."""
    columns = [key for key in TOOLS if row.values.get(key)]
    if len(columns) > 1:
        raise DataError(f"{row.location}: both {' and '.join(columns)}. Keep one of them.")
    if not columns:
        return ()
    [column] = columns
    listed = decoded(row.values[column], f"{row.location}: {column}") or []
    if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
        raise DataError(f"{row.location}: {column} is no list of functions.")
    wrapped = [tool if "function" in tool else {"type": "function", "function": tool} for tool in listed]
    for number, tool in enumerate(wrapped, 1):
        if not isinstance(tool["function"], dict) or not isinstance(tool["function"].get("name"), str):
            raise DataError(f"{row.location}: tool {number} has no name.")
    expect_characters(wrapped, f"{row.location}: {column}")
    return tuple(wrapped)


def after_system(row: Row, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """`turns` with the column `system` first. Raises `DataError` where they begin with another one."""
    system = optional(row, "system")
    if not system:
        return turns
    if turns and turns[0].role == "system":
        if turns[0].content.strip() == system.strip():
            return turns
        raise DataError(f"{row.location}: the column system and a first system message differ.")
    return (Turn("system", system), *turns)


def _turns(listed: Any, location: str) -> tuple[Turn, ...]:
    listed = [listed] if isinstance(listed, dict) else listed
    if not isinstance(listed, list):
        raise DataError(f"{location}: {type(listed).__name__} instead of a list of messages.")
    return tuple(_turn(message, f"{location}: message {number}") for number, message in enumerate(listed, 1))


def _turn(message: Any, location: str) -> Turn:
    values = message if isinstance(message, dict) else {}
    name, text_or_parts = _either(values, "role", "from", location), _either(values, "content", "value", location)
    called = [key for key in ("tool_calls", "function_call") if values.get(key)]
    if name is None or not {"content", "value", "tool_calls", "function_call"} & values.keys():
        raise DataError(f"{location} has no role and content (nor from and value).")
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise DataError(f"{location} has the unknown role {name!r}. Known: {', '.join(ROLES)}.")
    in_loss = weights.in_loss(values, location, role in ("assistant", _CALL))
    reasoning = _reasoning(values, role, location)
    if role == _CALL:
        return Turn(
            "assistant", "", _calls(decoded(text_or_parts, location), location), in_loss=in_loss, reasoning=reasoning
        )
    content, in_parts = _content(text_or_parts, location, may_be_empty=bool(called))
    calls = tuple(call for key in called for call in _calls(decoded(values[key], f"{location}: {key}"), location))
    if (calls or in_parts) and role != "assistant":
        raise DataError(f"{location}: only the assistant calls functions, and this is {name}.")
    return Turn(
        role,
        content,
        calls + in_parts,
        name=optional_text(values.get("name"), f"{location}: name"),
        answers_call=optional_text(values.get("tool_call_id"), f"{location}: tool_call_id"),
        in_loss=in_loss,
        reasoning=reasoning,
    )


def _either(message: Mapping[str, Any], key: str, alias: str, location: str) -> Any:
    """The value of a key that has two spellings; a null is none, as Arrow fills in keys that are absent."""
    value, aliased = message.get(key), message.get(alias)
    if value is not None and aliased is not None and value != aliased:
        raise DataError(f"{location}: {key} and {alias} differ. Keep one of them.")
    return aliased if value is None else value


def _reasoning(message: Mapping[str, Any], role: str, location: str) -> str:
    """The reasoning of a message apart from its content, in any of its spellings."""
    reasoning = {key: text(message[key], f"{location}: {key}") for key in REASONING if message.get(key)}
    if reasoning and role not in ("assistant", _CALL):
        raise DataError(f"{location}: only the assistant thinks, and this message has {next(iter(reasoning))}.")
    if len({*reasoning.values()}) > 1:
        raise DataError(f"{location}: {' and '.join(reasoning)} differ. Keep one of them.")
    return next(iter(reasoning.values()), "")


def _content(value: Any, location: str, may_be_empty: bool) -> tuple[str, tuple[ToolCall, ...]]:
    """The text of a message and the calls in it: of a text, or of a list of parts."""
    if isinstance(value, list):
        parts = [_part(part, f"{location}: part {number}") for number, part in enumerate(value, 1)]
        return "".join(content for content, _ in parts), tuple(call for _, calls in parts for call in calls)
    return text("" if value is None and may_be_empty else value, f"{location}: content"), ()


def _part(part: Any, location: str) -> tuple[str, tuple[ToolCall, ...]]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "reasoning", "thinking", "tool_call"):
        raise DataError(f"{location} is {kind or type(part).__name__!r}. Known: text, reasoning, thinking, tool_call.")
    value = next((part[key] for key in ("text", "value", "thinking", "reasoning") if part.get(key) is not None), None)
    if kind == "tool_call":
        return "", _calls(decoded(value, location), location)
    content = text(value, location)
    return (content if kind == "text" else f"<think>\n{content}\n</think>\n\n"), ()


def _calls(listed: Any, location: str) -> tuple[ToolCall, ...]:
    listed = [listed] if isinstance(listed, dict) else listed
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise DataError(f"{location}: {type(listed).__name__} instead of tool calls.")
    return tuple(_call(call, f"{location}: tool call {number}") for number, call in enumerate(listed, 1))


def _call(call: Any, location: str) -> ToolCall:
    values = call if isinstance(call, dict) else {}
    function = values.get("function", call)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise DataError(f"{location} has no name.")
    if values.get("type") not in (None, "function"):
        raise DataError(f"{location}: type is {values['type']!r}. Known: function.")
    expect_keys(values, CALL, location)
    expect_keys(function, CALL if function is call else FUNCTION, location)
    arguments = decoded(function.get("arguments") or {}, f"{location}: arguments")
    if not isinstance(arguments, dict):
        raise DataError(f"{location}: arguments is {type(arguments).__name__} instead of an object.")
    expect_characters([name, arguments], location)
    return ToolCall(name, arguments, optional_text(values.get("id"), f"{location}: id"))
