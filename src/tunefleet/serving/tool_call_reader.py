"""Tool call reader: the functions that an answer calls, in the forms that models of transformers write."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)  # Hermes, Qwen, and the chatml of ours
_INTRODUCTION = re.compile(r"\A\s*(\[TOOL_CALLS\]|<\|python_tag\|>)")  # Mistral, Llama 3: often a special token, unseen

Call = tuple[str, dict[str, Any]]
"""The name of a function, and its arguments."""


def calls(text: str, names: Collection[str]) -> tuple[str, Sequence[Call]]:
    """What `text` says besides calls, and its calls of functions among `names`; else all of it and ()."""
    if tagged := _TAGGED.findall(text):
        parsed = [call for part in tagged for call in _values(part)]
        content = _TAGGED.sub("", text).strip()
    else:
        parsed, content = list(_values(_INTRODUCTION.sub("", text))), ""
    read = [_call(value) for value in parsed]
    valid = [call for call in read if call and call[0] in names]
    return (content, valid) if valid and len(valid) == len(read) else (text, ())


def _values(text: str) -> Iterator[Any]:
    """The JSON values that `text` is made of, those of a list each; nothing where it is anything else."""
    decoder, position, values = json.JSONDecoder(), 0, list[Any]()
    text = text.strip()
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            values += value if isinstance(value, list) else [value]
            while position < len(text) and text[position] in " \n\r\t;":
                position += 1
    except (ValueError, RecursionError):
        return
    yield from values


def _call(value: Any) -> Call | None:
    if not isinstance(value, dict):
        return None
    function = value["function"] if isinstance(value.get("function"), dict) else value
    name, arguments = function.get("name"), function.get("arguments", function.get("parameters", {}))
    return (name, arguments) if isinstance(name, str) and isinstance(arguments, dict) else None
