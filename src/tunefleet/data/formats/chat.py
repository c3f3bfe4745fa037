"""How are conversations of many turns read: messages, ShareGPT, and a chosen answer to either?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data import weights
from tunefleet.data.conversation import ToolCall, Turn
from tunefleet.data.formats.fields import decoded, get, optional, text
from tunefleet.data.row import Row

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
"""Who says a message, as data sets write it in small or capital letters, and what we call it."""


def messages(row: Row) -> tuple[Turn, ...]:
    """The turns of `messages`: role and content, with tool calls and weights."""
    return _turns(get(row, "messages", list), row.where)


def sharegpt(row: Row) -> tuple[Turn, ...]:
    """The turns of `conversations`: from and value, after the column `system` if there is one."""
    return _after_system(row, _turns(get(row, "conversations", list), row.where))


def chosen(row: Row) -> tuple[Turn, ...]:
    """A question (`prompt` or `conversations`) and the answer in `chosen`, or all of it in `chosen`."""
    said = _said(row, "chosen", "assistant")
    if any(turn.role == "user" for turn in said):
        return _after_system(row, said)
    return _after_system(row, _said(row, "conversations" if "conversations" in row.values else "prompt", "user") + said)


def _said(row: Row, key: str, role: str) -> tuple[Turn, ...]:
    """The column `key`: one text that `role` says, or messages."""
    if isinstance(row.values.get(key), (list, dict)):
        return _turns(row.values[key], f"{row.where}: {key}")
    return (Turn(role, get(row, key, str)),)


def tools(row: Row) -> tuple[Mapping[str, Any], ...]:
    """The functions in the column `tools`, each as chat templates take it."""
    listed = decoded(row.values.get("tools") or [], f"{row.where}: tools")
    if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
        raise DataError(f"{row.where}: tools is no list of functions.")
    wrapped = [tool if "function" in tool else {"type": "function", "function": tool} for tool in listed]
    for number, tool in enumerate(wrapped, 1):
        if not isinstance(tool["function"], dict) or not isinstance(tool["function"].get("name"), str):
            raise DataError(f"{row.where}: tool {number} has no name.")
    return tuple(wrapped)


def _after_system(row: Row, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    system = optional(row, "system")
    return (Turn("system", system), *turns) if system else turns


def _turns(listed: Any, where: str) -> tuple[Turn, ...]:
    listed = [listed] if isinstance(listed, dict) else listed
    if not isinstance(listed, list):
        raise DataError(f"{where}: {type(listed).__name__} instead of a list of messages.")
    return tuple(_turn(message, f"{where}: message {number}") for number, message in enumerate(listed, 1))


def _turn(message: Any, where: str) -> Turn:
    said = message if isinstance(message, dict) else {}
    who, what = said.get("role", said.get("from")), said.get("content", said.get("value"))
    if who is None or not {"content", "value", "tool_calls"} & said.keys():
        raise DataError(f"{where} has no role and content (nor from and value).")
    role = ROLES.get(who.lower()) if isinstance(who, str) else None
    if role is None:
        raise DataError(f"{where} has the unknown role {who!r}. Known: {', '.join(ROLES)}.")
    if role == _CALL:
        return Turn("assistant", "", _calls(decoded(what, where), where), learns=weights.learns(said, where))
    content, called = _content(what, where, may_be_empty=bool(said.get("tool_calls")))
    calls = _calls(said.get("tool_calls") or [], where) + called
    return Turn(
        role,
        content,
        calls,
        name=said.get("name") or "",
        answers_call=said.get("tool_call_id") or "",
        learns=weights.learns(said, where),
    )


def _content(what: Any, where: str, may_be_empty: bool) -> tuple[str, tuple[ToolCall, ...]]:
    """The words of a message and the calls among them: a text, or a list of parts."""
    if isinstance(what, list):
        parts = [_part(part, f"{where}: part {number}") for number, part in enumerate(what, 1)]
        return "".join(words for words, _ in parts), tuple(call for _, calls in parts for call in calls)
    return text("" if what is None and may_be_empty else what, f"{where}: content"), ()


def _part(part: Any, where: str) -> tuple[str, tuple[ToolCall, ...]]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in ("text", "reasoning", "tool_call"):
        raise DataError(f"{where} is {kind or type(part).__name__!r}. Known: text, reasoning, tool_call.")
    value = part.get("text", part.get("value"))
    if kind == "tool_call":
        return "", _calls(decoded(value, where), where)
    said = text(value, where)
    return (f"<think>\n{said}\n</think>\n\n" if kind == "reasoning" else said), ()


def _calls(listed: Any, where: str) -> tuple[ToolCall, ...]:
    listed = [listed] if isinstance(listed, dict) else listed
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise DataError(f"{where}: {type(listed).__name__} instead of tool calls.")
    return tuple(_call(call, f"{where}: tool call {number}") for number, call in enumerate(listed, 1))


def _call(call: Any, where: str) -> ToolCall:
    function = call.get("function", call) if isinstance(call, dict) else {}
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise DataError(f"{where} has no name.")
    arguments = decoded(function.get("arguments") or {}, f"{where}: arguments")
    if not isinstance(arguments, dict):
        raise DataError(f"{where}: arguments is {type(arguments).__name__} instead of an object.")
    return ToolCall(name, arguments, call.get("id") or "")
