"""How a conversation is written as text, and which part of the text is an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.data.conversation import Conversation

_FOLDER = Path(__file__).parent / "templates"
# What rendering a template can raise: its own errors, and Python's.
_MISTAKES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


Message = Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """Text of a conversation; `answers` are the (start, end) characters that the assistant says."""

    text: str
    answers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template as transformers takes it; `specials` are bos_token, eos_token and the like."""

    source: str
    specials: Mapping[str, str]

    def prompt(self, messages: Sequence[Message], tools: Sequence[Message] = ()) -> str:
        """The text after which the assistant speaks."""
        try:
            return self._render(messages, tools, add_generation_prompt=True)
        except _MISTAKES as error:
            raise DataError(f"data.template: {error}.") from None

    def render(self, conversation: Conversation) -> Rendered:
        """The whole text with its answers, found as the difference of prefixes.

        An answer is what the text up to and with it adds to the prompt before it, end-of-turn token
        included. Raises `DataError` where the template changes earlier text as the conversation grows, or
        leaves out functions and their calls. Plain text is an answer from its first word on.
        """
        try:
            return self._text(conversation) if conversation.is_text else self._rendered(conversation)
        except _MISTAKES as error:
            raise DataError(f"{conversation.where}: data.template: {error}.") from None

    def _text(self, conversation: Conversation) -> Rendered:
        start = self.specials.get("bos_token", "")
        text = f"{start}{conversation.turns[0].content}{self.specials.get('eos_token', '')}"
        return Rendered(text, ((len(start), len(text)),))

    def _rendered(self, conversation: Conversation) -> Rendered:
        messages, tools = conversation.messages, conversation.tools
        answers = []
        text = ""
        for end, turn in enumerate(conversation.turns, 1):
            if turn.role == "assistant":
                prompt = self._render(messages[: end - 1], tools, add_generation_prompt=True)
                self._expect_prefix(text, prompt, conversation)
                self._expect_tools(prompt, [tool["function"]["name"] for tool in tools], conversation)
                text = self._render(messages[:end], tools, add_generation_prompt=False)
                self._expect_prefix(prompt, text, conversation)
                self._expect_tools(text[len(prompt) :], [call.name for call in turn.calls], conversation)
                answers.append((len(prompt), len(text)))
        whole = text if conversation.turns[-1].role == "assistant" else self._render(messages, tools, False)
        self._expect_prefix(text, whole, conversation)
        return Rendered(whole, tuple(answers))

    def _render(self, messages: Sequence[Message], tools: Sequence[Message], add_generation_prompt: bool) -> str:
        """By transformers itself, so that training and inference render alike."""
        texts, _ = render_jinja_template(
            [list(messages)],
            tools=list(tools) or None,
            chat_template=self.source,
            add_generation_prompt=add_generation_prompt,
            **self.specials,
        )
        return str(texts[0])

    @staticmethod
    def _expect_tools(text: str, names: Sequence[str], conversation: Conversation) -> None:
        left_out = [name for name in names if name not in text]
        if left_out:
            raise DataError(
                f"{conversation.where}: data.template: the chat template does not write the function "
                f"{left_out[0]!r}, so the model would not see it. Use one that knows tools, such as "
                "data.template=chatml."
            )

    @staticmethod
    def _expect_prefix(start: str, text: str, conversation: Conversation) -> None:
        if not text.startswith(start):
            raise DataError(
                f"{conversation.where}: the chat template rewrites earlier text as the conversation grows, so "
                "which tokens are answers cannot be told. Use data.template=plain, chatml or a file of your own."
            )


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
