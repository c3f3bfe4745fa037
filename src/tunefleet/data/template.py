"""How a conversation is written as text, and which part of the text is learnt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import TrainOn
from tunefleet.data.conversation import Conversation, Turn

_FOLDER = Path(__file__).parent / "templates"
# What rendering a template can raise: its own errors, and Python's.
_MISTAKES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")  # as transformers looks for it

Message = Mapping[str, Any]
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Rendered:
    """Text of a conversation; `answers` are the (start, end) characters that are learnt."""

    text: str
    answers: Spans


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template as transformers takes it; `specials` are bos_token, eos_token and the like."""

    source: str
    specials: Mapping[str, str]

    @cached_property
    def marked(self) -> bool:
        """Whether the template marks what the assistant says with {% generation %}."""
        return bool(_MARKER.search(self.source))

    def prompt(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> str:
        """The text after which the assistant speaks. Raises `DataError`."""
        return self._told(messages, tools, add_generation_prompt=True)[0]

    def text(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> str:
        """The text of whole messages. Raises `DataError`."""
        return self._told(messages, tools)[0]

    def render(self, conversation: Conversation, train_on: TrainOn = TrainOn.RESPONSE) -> Rendered:
        """The whole text, and what of it is learnt.

        An answer lies between two prefixes: the prompt before it, and the text up to and with it, end of turn
        included. Where the template marks its answers, the marks are taken. Raises `DataError` where the
        template changes earlier text as the conversation grows, because then neither tells, or leaves out
        functions and their calls. Plain text is learnt from its first word on, without the template.
        """
        if conversation.is_text:
            return self._plain(conversation)
        marks_learn = self.marked and train_on is not TrainOn.ALL
        whole, marks = self._whole(conversation, return_assistant_tokens_mask=marks_learn)
        _expect_functions(whole, [*_names(conversation.tools), *_called(conversation.turns)], conversation)
        if marks_learn:
            return Rendered(whole, _weighed(marks, conversation, train_on))
        if train_on is TrainOn.ALL:
            silent = [turn for turn in conversation.answers if not conversation.turns[turn].learns]
            return Rendered(whole, _between([self._answer(whole, conversation, turn) for turn in silent], len(whole)))
        learnt = conversation.learnt(train_on)
        return Rendered(whole, tuple(self._answer(whole, conversation, turn) for turn in learnt))

    def _plain(self, conversation: Conversation) -> Rendered:
        start = self.specials.get("bos_token", "")
        text = f"{start}{conversation.turns[0].content}{self.specials.get('eos_token', '')}"
        return Rendered(text, ((len(start), len(text)),))

    def _answer(self, whole: str, conversation: Conversation, turn: int) -> tuple[int, int]:
        prompt, _ = self._whole(conversation, turn, add_generation_prompt=True)
        text = self._whole(conversation, turn + 1)[0] if turn + 1 < len(conversation.turns) else whole
        text = text if whole.startswith(text) else self._without_close(text)
        if not whole.startswith(text) or not text.startswith(prompt):
            raise DataError(
                f"{conversation.where}: the chat template rewrites earlier text as the conversation grows, so "
                "which tokens are answers cannot be told. Use data.train_on=last, which asks for the last answer "
                "alone, data.template=plain or chatml, or a file of your own with {% generation %} around answers."
            )
        _expect_functions(prompt, _names(conversation.tools), conversation)
        _expect_functions(text[len(prompt) :], _called(conversation.turns[turn : turn + 1]), conversation)
        return len(prompt), len(text)

    def _without_close(self, text: str) -> str:
        """Without a special token that the template prints at the end of a conversation alone, as Phi-3's does."""
        return next((text.removesuffix(token) for token in self.specials.values() if text.endswith(token)), text)

    def _whole(self, conversation: Conversation, turns: int | None = None, **asked: bool) -> tuple[str, Spans]:
        """The text of the first `turns`; a mistake names the row."""
        try:
            return self._told(conversation.messages[:turns], conversation.tools, **asked)
        except DataError as error:
            raise DataError(f"{conversation.where}: {error}") from None

    def _told(self, messages: Sequence[Message], tools: Sequence[Message], **asked: bool) -> tuple[str, Spans]:
        """The text and what the template marks, by transformers itself, so that training and inference render alike."""
        try:
            texts, marks = render_jinja_template(
                [list(messages)], tools=list(tools) or None, chat_template=self.source, **asked, **self.specials
            )
        except _MISTAKES as error:
            raise DataError(f"data.template: {error}.") from None
        return str(texts[0]), tuple(marks[0]) if marks else ()


def _weighed(marks: Spans, conversation: Conversation, train_on: TrainOn) -> Spans:
    """The marks of the answers that learn."""
    answers, learnt = conversation.answers, conversation.learnt(train_on)
    if learnt == answers:
        return marks
    if len(marks) != len(answers):
        raise DataError(
            f"{conversation.where}: the chat template marks {len(marks)} parts with {{% generation %}} and the "
            f"conversation has {len(answers)} answers, so which of them is left out cannot be told. "
            "Use data.train_on=response without weights, or data.template=plain or chatml."
        )
    return tuple(mark for mark, turn in zip(marks, answers, strict=True) if turn in learnt)


def _names(tools: Sequence[Message]) -> list[str]:
    return [tool["function"]["name"] for tool in tools]


def _called(turns: Sequence[Turn]) -> list[str]:
    return [call.name for turn in turns for call in turn.calls]


def _expect_functions(text: str, names: Sequence[str], conversation: Conversation) -> None:
    """Each name stands there as often as it is given."""
    if not names:  # most conversations have none
        return
    left_out = [name for name, times in Counter(names).items() if text.count(name) < times]
    if left_out:
        raise DataError(
            f"{conversation.where}: data.template: the chat template does not write the function {left_out[0]!r}, "
            "so the model would not see it. Use one that knows tools, such as data.template=chatml."
        )


def _between(holes: Sequence[tuple[int, int]], length: int) -> Spans:
    """What of 0 ... length lies in no hole."""
    starts, ends = [0, *(end for _, end in holes)], [*(start for start, _ in holes), length]
    return tuple(zip(starts, ends, strict=True))


def find(name: str, own: str | None) -> str:
    """The Jinja source of `name`: `auto` is the tokenizer's `own`, else `plain`. Raises `ConfigError`."""
    if name == "auto" and own:
        return own
    built_in = _FOLDER / f"{'plain' if name == 'auto' else name}.jinja"
    path = built_in if built_in.is_file() else Path(name).expanduser()
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in _FOLDER.glob("*.jinja")))
        raise ConfigError(f"data.template: {name!r} is neither a template nor a file. Known: auto, {known}.")
    return path.read_text(encoding="utf-8").removesuffix("\n")
