"""Rendering of a chat template: texts of many conversations, by transformers itself, within limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import repeat
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.base.exhaustion import MEMORY, Exhausted, limited
from tunefleet.data.encode.growing_text import GrowingTemplate, GrowingText, grows
from tunefleet.data.read import row_fields
from tunefleet.libraries.transformers_private import compile_template

# What rendering a template can raise: its own errors, and Python's.
_MISTAKES = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    SyntaxError,
)
SECONDS, SECONDS_EACH = 10.0, 0.1  # for a batch of conversations, and for each of them

TODAY = date(2024, 7, 26)
"""What a template prints as today's: Llama 3's own default. The day's would make every day's data other data."""
_FIXED = "{# today is fixed #}"  # sets the template that trains apart from the same one that transformers compiles

Message = Mapping[str, Any]
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Rendered:
    """Text of a conversation; `answers` are the (start, end) characters that are in the loss."""

    text: str
    answers: Spans


@dataclass(frozen=True)
class TemplateRenderer:
    """A template with its `specials`; compiled when the first text is rendered, within the same limits."""

    source: str
    specials: Mapping[str, str]

    def render(
        self,
        conversations: Sequence[Sequence[Message]],
        tools: Sequence[Message],
        prompts: bool = False,
        marks: bool = False,
    ) -> list[Rendered]:
        """Texts and what the template marks, by transformers itself: training and inference render alike."""
        with _within_limits(len(conversations)):
            texts, marked = render_jinja_template(
                [list(messages) for messages in conversations],
                tools=list(tools) or None,
                chat_template=self._compiled,
                add_generation_prompt=prompts,
                return_assistant_tokens_mask=marks,
                **self.specials,
            )
        return [checked(text, spans) for text, spans in zip(texts, marked or repeat(()), strict=False)]

    def grow(self, conversations: Sequence[Sequence[Message]]) -> list[GrowingText]:
        """As `render` without tools, all prefixes at once; for a template that `can_grow`, of messages that do."""
        with _within_limits(len(conversations)):
            assert self._growing
            return [self._growing.grow(messages) for messages in conversations]

    def can_grow(self, messages: Sequence[Message]) -> bool:
        """Whether `grow` writes them as `render` does: transformers hands on such messages as they are."""
        if not self._growing:
            return False
        return not any(
            "reasoning_content" in message or any(type(value) is not str for value in message.values())
            for message in messages
        )

    @cached_property
    def _growing(self) -> GrowingTemplate | None:
        try:
            with _within_limits(1):
                compiled = compile_template(self._compiled)
                return GrowingTemplate(compiled, self.specials) if grows(compiled, self._compiled) else None
        except DataError:  # which `render` raises where it can be told of a row
            return None

    @cached_property
    def _compiled(self) -> str:
        """The source. Its compiled form, which transformers keeps, gets its globals as one map instead of a chain of
        maps: Jinja copies them for every text, which took a seventh of all preparation.
        """
        source = self.source
        if "strftime_now" in source:
            source = _FIXED + ("\n" if source.startswith("\n") else "") + source
        compiled = compile_template(source)
        compiled.globals = dict(compiled.globals)
        if source is not self.source:
            compiled.globals["strftime_now"] = TODAY.strftime
        return source


@contextmanager
def _within_limits(conversations: int) -> Iterator[None]:
    """Limits on what a template does with so many. Raises `ConfigError`, or `DataError` for a mistake in it."""
    seconds = SECONDS + SECONDS_EACH * conversations
    try:
        with limited(seconds):
            yield
    except Exhausted:
        raise ConfigError(
            f"data.template: writes {_number_of(conversations)} for more than {seconds:.0f} s.{_ENDS}"
        ) from None
    except MemoryError:
        raise ConfigError(
            f"data.template: takes more than {MEMORY >> 30} GiB to write {_number_of(conversations)}.{_ENDS}"
        ) from None
    except _MISTAKES as error:
        raise DataError(f"data.template: {str(error) or type(error).__name__}.") from None


_ENDS = " Does a loop in it end? Use another template, such as data.template=chatml."


def _number_of(conversations: int) -> str:
    return f"{conversations} conversations" if conversations > 1 else "a conversation"


def checked(text: str, spans: Iterable[tuple[int, int]] = ()) -> Rendered:
    """What a template wrote. Raises `DataError` for half a character."""
    if not text.isascii():
        row_fields.text(text, "data.template: what it writes")
    return Rendered(str(text), tuple(spans))
