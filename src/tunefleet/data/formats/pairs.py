"""Pair formats: alpaca, prompt and completion, and plain text without either."""

from __future__ import annotations

from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.formats.chat import after_system, messages_or_text
from tunefleet.data.formats.conversation import TEXT, Turn
from tunefleet.data.read.row_fields import get, listed, optional, text
from tunefleet.data.read.source_row import Row


def alpaca(row: Row) -> tuple[Turn, ...]:
    """`instruction` and `input`, answered by `output`; `history` holds earlier pairs."""
    instruction, instruction_input = get(row, "instruction", str), optional(row, "input")
    question = f"{instruction}\n\n{instruction_input}" if instruction_input else instruction
    turns = (Turn("user", question, input=instruction_input), Turn("assistant", get(row, "output", str)))
    return after_system(row, (*_history(row), *turns))


def prompt_completion(row: Row) -> tuple[Turn, ...]:
    """`prompt` and `completion`: texts, messages, or lists of as many texts, which take turns."""
    prompt, completion = row.values.get("prompt"), row.values.get("completion")
    if _are_messages(prompt) or _are_messages(completion):
        turns = messages_or_text(row, "prompt", "user") + messages_or_text(row, "completion", "assistant")
        return after_system(row, (*_history(row), *turns))
    if not isinstance(prompt, list):
        turns = (Turn("user", get(row, "prompt", str)), Turn("assistant", get(row, "completion", str)))
        return after_system(row, (*_history(row), *turns))
    questions, answers = get(row, "prompt", list), get(row, "completion", list)
    if len(questions) != len(answers):
        raise DataError(f"{row.location}: prompt holds {len(questions)} texts and completion {len(answers)}.")
    pairs = [turn for pair in zip(questions, answers, strict=True) for turn in _pair(pair, row.location)]
    return after_system(row, (*_history(row), *pairs))


def plain_text(row: Row) -> tuple[Turn, ...]:
    """`text`, in the loss as it stands."""
    return (Turn(TEXT, get(row, "text", str)),)


def _history(row: Row) -> list[Turn]:
    """Earlier questions and answers, as pairs in the column `history`."""
    history = listed(row.values.get("history"), f"{row.location}: history")
    return [turn for pair in history for turn in _pair(pair, f"{row.location}: history")]


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _pair(pair: Any, location: str) -> tuple[Turn, Turn]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise DataError(f"{location}: {pair!r:.60} is no pair of question and answer.")
    return Turn("user", text(pair[0], f"{location}: question")), Turn("assistant", text(pair[1], f"{location}: answer"))
