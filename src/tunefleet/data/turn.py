"""Where does an answer end: the tokens at which generation stops, and the text that a template prints behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.template import ChatTemplate

_ANSWER = "tunefleet"  # no template knows this word, so what stands behind it is the template's


@dataclass(frozen=True)
class EndOfTurn:
    """`text` closes an answer, `after` follows it (often a line break); generation stops at any token of `stops`."""

    text: str
    after: str
    stops: tuple[int, ...]

    def of(self, whole: str, start: int, end: int) -> int:
        """Where the answer whole[start:end] has been said: behind its end of turn, before what follows that.

        Markers may leave the end of turn out, so it is looked for behind them too.
        """
        if not self.text:
            return end
        if whole.startswith(self.text, end):
            return end + len(self.text)
        closed = whole.rfind(self.text, start, end) + len(self.text)
        behind = whole[closed:end]
        return closed if closed > start and (behind == self.after or not behind.strip()) else end


def end_of_turn(template: ChatTemplate, tokenizer: Any) -> EndOfTurn:
    """How `template` ends an answer, found by rendering one.

    Its end is the first special or added token behind the words, with those that touch it. Generation stops
    there and at the tokenizer's end of sequence. Where there is no such token, `text` is empty.
    """
    tail = _tail(template)
    encoded = tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True)
    known = {*tokenizer.added_tokens_decoder} - {tokenizer.unk_token_id} | {tokenizer.eos_token_id}
    stops = [tokenizer.eos_token_id]
    end = 0
    for token, (start, stop) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if token in known and (not end or start <= end):
            stops += [] if end else [token]
            end = stop
        elif end:
            break
    return EndOfTurn(tail[:end], tail[end:], tuple(dict.fromkeys(stops)))


def _tail(template: ChatTemplate) -> str:
    """What the template prints behind the words of an answer; nothing where it cannot be told."""
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
    try:
        _, found, tail = template.text(messages).rpartition(_ANSWER)
    except DataError:
        return ""
    return tail if found else ""
