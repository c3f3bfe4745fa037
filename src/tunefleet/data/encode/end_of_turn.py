"""End of turn: the tokens at which generation stops, and the text that a template prints behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.errors import DataError
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.formats.conversation import ToolCall, Turn

_ANSWER = "tunefleet"  # no template knows this word, so what stands behind it is the template's

_CALL = ToolCall(_ANSWER, {_ANSWER: _ANSWER}, id=_ANSWER)  # the nine letters that Mistral's templates ask of an id
_CALL_MESSAGE = Turn("assistant", "", (_CALL,)).message
_TOOLS = ({"type": "function", "function": {"name": _ANSWER, "description": "", "parameters": {"type": "object"}}},)


@dataclass(frozen=True)
class EndOfTurn:
    """`text` closes an answer, `after` follows it (often a line break); generation stops at any token of `stops`.

    `of_calls` is another such pair, where an answer that calls functions ends otherwise.
    """

    text: str
    after: str
    stops: tuple[int, ...]
    of_calls: tuple[str, str] = ("", "")

    def place(self, text: str, start: int, end: int) -> int:
        """Where generation of the answer text[start:end] stops: behind its end of turn, before what follows that.

        Markers may leave the end of turn out, so it is looked for behind them too.
        """
        for close, after in ((self.text, self.after), self.of_calls):
            closed = _closed(text, start, end, close, after) if close else None
            if closed is not None:
                return closed
        return end


def _closed(text: str, start: int, end: int, close: str, after: str) -> int | None:
    if text.startswith(close, end):
        return end + len(close)
    place = text.rfind(close, start, end)
    closed = place + len(close)
    behind = text[closed:end]
    return closed if place >= 0 and closed > start and (behind == after or not behind.strip()) else None


def end_of_turn(template: ChatTemplate, tokenizer: Any) -> EndOfTurn:
    """How `template` ends an answer, found by rendering one.

    Its end is the first special or added token behind the words, with those that touch it; where it calls functions,
    the last one, since a call may be closed by some of its own. Generation stops there, at the tokenizer's end of
    sequence, and where the generation_config.json beside the tokenizer says. Where there is no such token, `text` is
    empty.
    """
    specials = {*tokenizer.added_tokens_decoder} - {tokenizer.unk_token_id} | {tokenizer.eos_token_id}
    tail = _tail(template)
    encoded = tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True)
    stops = [tokenizer.eos_token_id]
    end = 0
    for token, (start, stop) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if token in specials and (not end or start <= end):
            stops += [] if end else [token]
            end = stop
        elif end:
            break
    token, of_calls = _end_of_calls(template, tokenizer, specials)
    stops += [*([token] if of_calls[0] else []), *_configured(tokenizer)]
    differing = of_calls if of_calls[0] != tail[:end] else ("", "")
    return EndOfTurn(tail[:end], tail[end:], tuple(dict.fromkeys(stops)), differing)


def _end_of_calls(template: ChatTemplate, tokenizer: Any, specials: set[int]) -> tuple[int, tuple[str, str]]:
    """The last special token behind a call, with its text and what follows it; no text where there is none."""
    tail = _tail(template, _CALL_MESSAGE)
    encoded = tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True)
    pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    token, (start, end) = next(((t, o) for t, o in reversed([*pairs]) if t in specials), (-1, (0, 0)))
    return token, (tail[start:end], tail[end:])


def _configured(tokenizer: Any) -> list[int]:
    """The ends of sequence in the generation_config.json beside the tokenizer, whose ids are its own."""
    try:
        named = files.read_json(Path(str(tokenizer.name_or_path)) / "generation_config.json")["eos_token_id"]
    except (OSError, ValueError, TypeError, KeyError):
        return []
    tokens = named if isinstance(named, list) else [named]
    return [token for token in tokens if isinstance(token, int) and 0 <= token < len(tokenizer)]


def _tail(template: ChatTemplate, answer: Mapping[str, Any] | None = None) -> str:
    """What the template prints behind the words of an answer; nothing where it cannot be told."""
    messages = [{"role": "user", "content": "?"}, answer or {"role": "assistant", "content": _ANSWER}]
    try:
        _, separator, tail = template.text(messages, _TOOLS if answer else ()).rpartition(_ANSWER)
    except DataError:
        return ""
    return tail if separator else ""
