"""How a conversation is written as text, and which part of the text is learnt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import TrainOn
from tunefleet.data.conversation import Conversation

_FOLDER = Path(__file__).parent / "templates"
# What rendering a template can raise: its own errors, and Python's.
_MISTAKES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")  # as transformers looks for it


@dataclass(frozen=True)
class Rendered:
    """Text of a conversation; `answers` are the (start, end) characters that are learnt."""

    text: str
    answers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template as transformers takes it; `specials` are bos_token, eos_token and the like."""

    source: str
    specials: Mapping[str, str]

    @property
    def marked(self) -> bool:
        """Whether the template marks what the assistant says with {% generation %}."""
        return bool(_MARKER.search(self.source))

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text after which the assistant speaks. Raises `DataError`."""
        return self._told(messages, "", add_generation_prompt=True)

    def text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text of whole messages. Raises `DataError`."""
        return self._told(messages, "", add_generation_prompt=False)

    def render(self, conversation: Conversation, train_on: TrainOn = TrainOn.RESPONSE) -> Rendered:
        """The whole text, and what of it is learnt.

        An answer lies between two prefixes: the prompt before it, and the text up to and with it, end of turn
        included. Where the template marks its answers, the marks are taken. Raises `DataError` where the
        template changes earlier text as the conversation grows, because then neither tells.
        """
        if self.marked and train_on is not TrainOn.ALL:
            return self._by_marks(conversation, train_on)
        whole = self._told(conversation.messages, conversation.where, add_generation_prompt=False)
        if train_on is TrainOn.ALL:
            silent = [turn for turn in conversation.answers if not conversation.turns[turn].learns]
            return Rendered(whole, _between([self._answer(whole, conversation, turn) for turn in silent], len(whole)))
        learnt = conversation.learnt(train_on)
        return Rendered(whole, tuple(self._answer(whole, conversation, turn) for turn in learnt))

    def _answer(self, whole: str, conversation: Conversation, turn: int) -> tuple[int, int]:
        messages = conversation.messages
        prompt = self._told(messages[:turn], conversation.where, add_generation_prompt=True)
        text = whole
        if turn + 1 < len(messages):
            text = self._told(messages[: turn + 1], conversation.where, add_generation_prompt=False)
        text = text if whole.startswith(text) else self._without_close(text)
        if not whole.startswith(text) or not text.startswith(prompt):
            raise DataError(
                f"{conversation.where}: the chat template rewrites earlier text as the conversation grows, so "
                "which tokens are answers cannot be told. Use data.train_on=last, which asks for the last answer "
                "alone, data.template=plain or chatml, or a file of your own with {% generation %} around answers."
            )
        return len(prompt), len(text)

    def _without_close(self, text: str) -> str:
        """Without a special token that the template prints at the end of a conversation alone, as Phi-3's does."""
        return next((text.removesuffix(token) for token in self.specials.values() if text.endswith(token)), text)

    def _by_marks(self, conversation: Conversation, train_on: TrainOn) -> Rendered:
        try:
            texts, marks = self._rendered(conversation.messages, return_assistant_tokens_mask=True)
        except _MISTAKES as error:
            raise DataError(f"{conversation.where}: data.template: {error}.") from None
        if conversation.learnt(train_on) == conversation.answers:
            return Rendered(str(texts[0]), tuple(marks[0]))
        if len(marks[0]) != len(conversation.answers):
            raise DataError(
                f"{conversation.where}: the chat template marks {len(marks[0])} parts with {{% generation %}} and the "
                f"conversation has {len(conversation.answers)} answers, so which of them is left out cannot be told. "
                "Use data.train_on=response without weights, or data.template=plain or chatml."
            )
        learnt = [conversation.answers.index(turn) for turn in conversation.learnt(train_on)]
        return Rendered(str(texts[0]), tuple(marks[0][number] for number in learnt))

    def _told(self, messages: Sequence[Mapping[str, Any]], where: str, add_generation_prompt: bool) -> str:
        try:
            texts, _ = self._rendered(messages, add_generation_prompt=add_generation_prompt)
        except _MISTAKES as error:
            raise DataError(f"{f'{where}: ' if where else ''}data.template: {error}.") from None
        return str(texts[0])

    def _rendered(self, messages: Sequence[Mapping[str, Any]], **asked: bool) -> Any:
        """By transformers itself, so that training and inference render alike."""
        return render_jinja_template([list(messages)], chat_template=self.source, **asked, **self.specials)


def _between(holes: Sequence[tuple[int, int]], length: int) -> tuple[tuple[int, int], ...]:
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
