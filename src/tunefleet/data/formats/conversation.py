"""Conversation: turns by role, the functions that may be called, and the place of the row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunefleet.config.data import TrainOn

TEXT = "text"
"""The role of plain text: no chat template is put around it."""


@dataclass(frozen=True)
class ToolCall:
    """A function that the assistant asks for. `id` joins it to its result, where the data give one."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""

    @property
    def message(self) -> dict[str, Any]:
        """The call as chat templates take it."""
        call = {"type": "function", "function": {"name": self.name, "arguments": self.arguments}}
        return {**call, "id": self.id} if self.id else call


@dataclass(frozen=True)
class Turn:
    """One message. `role` is system, user, assistant, tool or text.

    A tool's content is the result of call `answers_call`; `in_loss` is its `weight` in the data, which other turns than
    answers have for `data.train_on=all` alone.
    `reasoning` stands before the content of an answer, and `input` is what an instruction is about and ends with,
    where the data give it apart.
    """

    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    name: str = ""
    answers_call: str = ""
    in_loss: bool = True
    reasoning: str = ""
    input: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The content, in its parts: an instruction and its input, or one text."""
        return (self.content.removesuffix(f"\n\n{self.input}"), self.input) if self.input else (self.content,)

    @property
    def message(self) -> dict[str, Any]:
        """The turn as chat templates take it."""
        if not (self.input or self.calls or self.name or self.answers_call or self.reasoning):  # of most rows
            return {"role": self.role, "content": self.content}
        extras = {
            "tool_calls": [call.message for call in self.calls],
            "name": self.name,
            "tool_call_id": self.answers_call,
            "reasoning_content": self.reasoning,
            "instruction": self.parts[0] if self.input else "",
            "input": self.input,
        }
        return {"role": self.role, "content": self.content, **{key: value for key, value in extras.items() if value}}


@dataclass(frozen=True)
class Conversation:
    """Turns in order, and the functions that the assistant may call. `location` is file:line for messages."""

    turns: tuple[Turn, ...]
    location: str
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether this is plain text, in the loss as a whole and without a chat template."""
        return self.turns[0].role == TEXT

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns as chat templates take them."""
        return [turn.message for turn in self.turns]

    @property
    def questions(self) -> int:
        """Messages of the user's."""
        return sum(turn.role == "user" for turn in self.turns)

    @property
    def question(self) -> list[dict[str, Any]]:
        """The messages before the last answer."""
        return self.messages[: self._last_answer]

    @property
    def answer(self) -> str:
        """The last answer of the assistant; where it only called functions, the calls as lines of JSON."""
        turn = self.turns[self._last_answer]
        calls = [{"name": call.name, "arguments": call.arguments} for call in turn.calls]
        return turn.content or "\n".join(json.dumps(call, ensure_ascii=False) for call in calls)

    @property
    def answers(self) -> list[int]:
        """The numbers of the assistant's turns."""
        return [i for i, turn in enumerate(self.turns) if turn.role == "assistant"]

    def answers_in_loss(self, train_on: TrainOn) -> list[int]:
        """The numbers of the answers that are in the loss."""
        candidates = self.answers[-1:] if train_on is TrainOn.LAST else self.answers
        return [i for i in candidates if self.turns[i].in_loss]

    @property
    def _last_answer(self) -> int:
        return self.answers[-1]
