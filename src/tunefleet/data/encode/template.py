"""Chat template: writes a conversation as text, and finds the characters of its answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.data import TrainOn
from tunefleet.data.encode.template_rendering import Message, Rendered, Spans, TemplateRenderer, checked
from tunefleet.data.encode.written import expect_written
from tunefleet.data.formats.conversation import Conversation, Turn

_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")  # as transformers looks for it

Prefix = tuple[int, bool]
"""So many messages of a conversation, and whether the assistant is asked to answer behind them."""


Prefixes = dict[Prefix, Rendered]
"""Prefixes of one conversation that were rendered before."""
_Request = tuple[Prefixes, list[Prefix], list[dict[str, Any]]]
"""Where they go, which are asked for, and the messages."""


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template as transformers takes it; `specials` are bos_token, eos_token and the like.

    `tool_source` is the template of conversations with tools, where a tokenizer has one for them.
    """

    source: str
    specials: Mapping[str, str]
    tool_source: str = ""

    @cached_property
    def marked(self) -> bool:
        """Whether the template marks the assistant's text with {% generation %}."""
        return bool(_MARKER.search(self.source))

    @property
    def exported(self) -> str | dict[str, str]:
        """As a tokenizer of transformers holds it: one template, or several by name."""
        return {"default": self.source, "tool_use": self.tool_source} if self.tool_source else self.source

    @property
    def prints_today(self) -> bool:
        """Whether the template asks for the day's date."""
        return "strftime_now" in self.source + self.tool_source

    def with_tools(self, tools: Sequence[Message]) -> ChatTemplate:
        """The template for conversations that may call `tools`."""
        return self._for_tools if tools and self.tool_source else self

    @cached_property
    def _for_tools(self) -> ChatTemplate:
        return ChatTemplate(self.tool_source, self.specials)

    @cached_property
    def _renderer(self) -> TemplateRenderer:
        return TemplateRenderer(self.source, self.specials)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> str:
        """The text after which the assistant's begins. Raises `DataError`."""
        return self.with_tools(tools)._renderer.render([messages], tools, prompts=True)[0].text

    def text(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> str:
        """The text of whole messages. Raises `DataError`."""
        return self.with_tools(tools)._renderer.render([messages], tools)[0].text

    def render(self, conversation: Conversation, train_on: TrainOn = TrainOn.RESPONSE) -> Rendered:
        """The whole text, and what of it is in the loss.

        An answer lies between two prefixes: the prompt before it, and the text up to and with it, end of turn
        included. Where the template marks its answers, the marks are taken. Raises `DataError` where the
        template changes earlier text as the conversation grows, because then neither tells, or leaves out
        a part of a message, functions or their calls. Plain text is in the loss from its first word on.
        """
        return self.with_tools(conversation.tools)._rendered(conversation, train_on, {})

    def render_all(self, conversations: Sequence[Conversation], train_on: TrainOn) -> list[Rendered | DataError]:
        """As `render`, for many at once, which takes half of the time; an error stands where its text would."""
        rendered: list[Rendered | DataError] = []
        for conversation, prefixes in zip(conversations, self._ahead(conversations, train_on), strict=True):
            try:
                rendered.append(self.with_tools(conversation.tools)._rendered(conversation, train_on, prefixes))
            except DataError as error:
                rendered.append(error)
        return rendered

    def _rendered(self, conversation: Conversation, train_on: TrainOn, prefixes: Prefixes) -> Rendered:
        if conversation.is_text:
            return self._plain(conversation)
        marks = self._marks(train_on)
        full = self._prefix(conversation, (len(conversation.turns), False), prefixes, marks)
        _expect_functions(full.text, [*_names(conversation.tools), *_called(conversation.turns)], conversation)
        if marks:
            expect_written(
                conversation, full.text, dict.fromkeys(conversation.answers_in_loss(train_on), (0, len(full.text)))
            )
            return Rendered(full.text, _weighed(full.answers, conversation, train_on))
        if train_on is TrainOn.ALL and not any(turn.in_loss for turn in conversation.turns):
            return Rendered(full.text, ())
        spans = tuple(
            self._answer(full.text, conversation, turn, prefixes) for turn in _answers_to_find(conversation, train_on)
        )
        if train_on is TrainOn.ALL:
            _expect_in_loss(conversation)
            places = dict.fromkeys(conversation.answers, (0, len(full.text)))
            expect_written(conversation, full.text, places)
            return Rendered(full.text, _between(spans, len(full.text)))
        expect_written(conversation, full.text, dict(zip(conversation.answers_in_loss(train_on), spans, strict=True)))
        return Rendered(full.text, spans)

    def _marks(self, train_on: TrainOn) -> bool:
        """Whether the template's own marks say what is in the loss."""
        return self.marked and train_on is not TrainOn.ALL

    def _plain(self, conversation: Conversation) -> Rendered:
        content = conversation.turns[0].content
        start, end = self.specials.get("bos_token", ""), self.specials.get("eos_token", "")
        text = f"{'' if content.startswith(start) else start}{content}{'' if content.endswith(end) else end}"
        return Rendered(text, ((len(start), len(text)),))

    def _answer(self, full_text: str, conversation: Conversation, turn: int, prefixes: Prefixes) -> tuple[int, int]:
        prompt = self._prefix(conversation, (turn, True), prefixes).text
        text = self._prefix(conversation, (turn + 1, False), prefixes).text
        text = text if full_text.startswith(text) else self._without_close(text)
        if not full_text.startswith(text) or not text.startswith(prompt):
            raise DataError(
                f"{conversation.location}: the chat template rewrites earlier text as the conversation grows, so "
                "which tokens are answers cannot be told. Use data.train_on=last, which asks for the last answer "
                "alone, data.template=plain or chatml, or a file of your own with {% generation %} around answers."
            )
        _expect_functions(prompt, _names(conversation.tools), conversation)
        _expect_functions(text[len(prompt) :], _called(conversation.turns[turn : turn + 1]), conversation)
        return len(prompt), len(text)

    def _without_close(self, text: str) -> str:
        """Without a special token that the template prints at the end of a conversation alone, as Phi-3's does."""
        return next((text.removesuffix(token) for token in self.specials.values() if text.endswith(token)), text)

    def _prefix(self, conversation: Conversation, prefix: Prefix, prefixes: Prefixes, marks: bool = False) -> Rendered:
        """The text of a prefix, rendered once; a mistake names the row."""
        if prefix not in prefixes:
            messages, prompts = conversation.messages[: prefix[0]], prefix[1]
            try:
                [prefixes[prefix]] = self._renderer.render([messages], conversation.tools, prompts, marks)
            except DataError as error:
                has_question = any(turn.role == "user" for turn in conversation.turns[: prefix[0]])
                hint = "" if has_question else " No question stands before the first answer, which many templates need."
                raise DataError(f"{conversation.location}: {error}{hint}") from None
        return prefixes[prefix]

    def _ahead(self, conversations: Sequence[Conversation], train_on: TrainOn) -> list[Prefixes]:
        """What `_rendered` will ask for, rendered together; nothing where any of it makes a mistake."""
        rendered: list[Prefixes] = [{} for _ in conversations]
        marks = self._marks(train_on)
        requests = [
            (prefixes, [*_prefixes(conversation, () if marks else _answers_to_find(conversation, train_on))], messages)
            for conversation, prefixes in zip(conversations, rendered, strict=True)
            if not conversation.is_text and not conversation.tools
            for messages in [conversation.messages]
        ]
        try:
            self._render_each(requests if marks else self._grow(requests), marks)
        except DataError:
            return [{} for _ in conversations]
        return rendered

    def _grow(self, requests: list[_Request]) -> list[_Request]:
        """Answers requests with one rendering each, where that tells all prefixes; returns the others."""
        can_grow = [
            self._renderer.can_grow(messages) and all(count for count, _ in request_prefixes)
            for _, request_prefixes, messages in requests
        ]
        growing = [request for request, can in zip(requests, can_grow, strict=True) if can]
        texts = self._renderer.grow([messages for *_, messages in growing]) if growing else []
        for (prefixes, request_prefixes, _), text in zip(growing, texts, strict=True):
            for prefix in request_prefixes:
                prefixes[prefix] = checked(text.prefix(*prefix))
        return [request for request, can in zip(requests, can_grow, strict=True) if not can]

    def _render_each(self, requests: list[_Request], marks: bool) -> None:
        for prompts in (False, True):
            batch = [(*request, prefix) for request in requests for prefix in request[1] if prefix[1] is prompts]
            beginnings = [messages[: prefix[0]] for _, _, messages, prefix in batch]
            texts = self._renderer.render(beginnings, (), prompts, marks) if batch else []
            for (prefixes, _, _, prefix), text in zip(batch, texts, strict=True):
                prefixes[prefix] = text


def _expect_in_loss(conversation: Conversation) -> None:
    """Of a conversation that is in the loss as a whole only answers can be left out: their places can be found."""
    for number, turn in enumerate(conversation.turns, 1):
        if not turn.in_loss and turn.role != "assistant":
            raise DataError(
                f"{conversation.location}: message {number} (of the {turn.role}) is to be left out of the loss, and "
                "data.train_on=all puts all but answers into it. Use data.train_on=response, or take its weight or "
                "mask out of the row."
            )


def _answers_to_find(conversation: Conversation, train_on: TrainOn) -> list[int]:
    """The numbers of the answers whose place must be found: those in the loss, or with `all` those out of it."""
    if train_on is TrainOn.ALL:
        return [turn for turn in conversation.answers if not conversation.turns[turn].in_loss]
    return conversation.answers_in_loss(train_on)


def _prefixes(conversation: Conversation, answers: Sequence[int]) -> Iterable[Prefix]:
    """The whole text, and what stands before and behind each of `answers`."""
    around = [prefix for turn in answers for prefix in ((turn, True), (turn + 1, False))]
    return dict.fromkeys([(len(conversation.turns), False), *around])


def _weighed(marks: Spans, conversation: Conversation, train_on: TrainOn) -> Spans:
    """The marks of the answers in the loss."""
    answers, in_loss = conversation.answers, conversation.answers_in_loss(train_on)
    if in_loss == answers:
        return marks
    if len(marks) != len(answers):
        raise DataError(
            f"{conversation.location}: the chat template marks {len(marks)} parts with {{% generation %}} and the "
            f"conversation has {len(answers)} answers, so which of them is left out cannot be told. "
            "Use data.train_on=response without weights, or data.template=plain or chatml."
        )
    return tuple(mark for mark, turn in zip(marks, answers, strict=True) if turn in in_loss)


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
            f"{conversation.location}: data.template: the chat template does not write the function {left_out[0]!r}, "
            "so the model would not see it. Use one that knows tools, such as data.template=chatml."
        )


def _between(holes: Sequence[tuple[int, int]], length: int) -> Spans:
    """What of 0 ... length lies in no hole."""
    starts, ends = [0, *(end for _, end in holes)], [*(start for start, _ in holes), length]
    return tuple(zip(starts, ends, strict=True))
