"""Which tokens learn: turns rendered conversations into token ids and a loss mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import LongRows, TrainOn
from tunefleet.data.conversation import Conversation
from tunefleet.data.long_rows import Encoded, fitted
from tunefleet.data.template import ChatTemplate, Rendered
from tunefleet.data.turn import end_of_turn

Pair = tuple[Conversation, Encoded]


class Encoder:
    """How the conversations of a run become tokens, in three steps, so that the second can run beside the others.

    `tokenizer` is a fast transformers tokenizer. The text is tokenised as a whole and tokens are assigned by
    their characters, so that no token depends on where a turn was cut; a token that begins before an answer
    does not learn. What is longer than `longest` tokens becomes what `long_rows` says.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: Any,
        train_on: TrainOn,
        longest: int,
        long_rows: LongRows = LongRows.TRUNCATE,
    ) -> None:
        self._template = template
        self._train_on = train_on
        self._longest = longest
        self._long_rows = long_rows
        self._end = end_of_turn(template, tokenizer)
        self._tokenizer = tokenizer.backend_tokenizer
        self._tokenizer.no_truncation()  # how it was called last
        self._tokenizer.no_padding()

    def render(self, conversation: Conversation) -> Rendered:
        """The text. An answer ends with the token at which generation stops: what follows is never generated.

        Raises `DataError`.
        """
        rendered = self._template.render(conversation, self._train_on)
        if self._train_on is TrainOn.ALL or conversation.is_text:
            return rendered
        return Rendered(rendered.text, tuple((a, self._end.of(rendered.text, a, b)) for a, b in rendered.answers))

    def tokenise(self, texts: Sequence[str]) -> Sequence[Any]:
        """Tokens with their characters; on all cores, and without Python's lock."""
        found: Sequence[Any] = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)  # the template has
        return found

    def masked(
        self, conversations: Sequence[Conversation], rendered: Sequence[Rendered], tokenised: Sequence[Any]
    ) -> Iterator[list[Encoded]]:
        """What each conversation is trained on as: one part, or several; none of it learns where there is none."""
        tokens = np.fromiter(chain.from_iterable(found.ids for found in tokenised), dtype=np.int32)
        bounds = np.cumsum([0, *(len(found) for found in tokenised)])
        learns = _learning(rendered, tokenised, bounds)
        for number, conversation in enumerate(conversations):
            part = slice(bounds[number], bounds[number + 1])
            yield fitted(tokens[part].copy(), learns[part].copy(), conversation.is_text, self._longest, self._long_rows)


def encode(
    conversations: Sequence[Conversation],
    template: ChatTemplate,
    tokenizer: Any,
    train_on: TrainOn,
    longest: int,
    long_rows: LongRows = LongRows.TRUNCATE,
) -> list[Encoded]:
    """Encodes a few conversations, each as many parts as `long_rows` says."""
    return [encoded for _, encoded in in_pairs(conversations, template, tokenizer, train_on, longest, long_rows)]


def in_pairs(
    conversations: Sequence[Conversation],
    template: ChatTemplate,
    tokenizer: Any,
    train_on: TrainOn,
    longest: int,
    long_rows: LongRows = LongRows.TRUNCATE,
) -> list[Pair]:
    """As `encode`, each with the conversation that it is, or that it is a part of."""
    encoder = Encoder(template, tokenizer, train_on, longest, long_rows)
    rendered = [encoder.render(conversation) for conversation in conversations]
    parts = encoder.masked(conversations, rendered, encoder.tokenise([one.text for one in rendered]))
    return [(talk, encoded) for talk, found in zip(conversations, parts, strict=True) for encoded in found]


def _learning(rendered: Sequence[Rendered], tokenised: Sequence[Any], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each token learns, for many texts at once: their characters are counted on from text to text.

    A token begins where the last one ended: GPT-NeoX and others trim spaces from the offsets they tell.
    """
    offsets = np.fromiter(_numbers(tokenised), dtype=np.int64, count=2 * int(bounds[-1])).reshape(-1, 2)
    firsts = np.cumsum([0, *(len(one.text) for one in rendered)])  # characters before each text
    base = np.repeat(firsts[:-1], np.diff(bounds))
    ends = np.maximum.accumulate(offsets[:, 1] + base)
    before = np.maximum(np.concatenate([[0], ends[:-1]]), base)
    starts = np.minimum(offsets[:, 0] + base, before)
    spans = [
        (a + first, b + first) for one, first in zip(rendered, firsts.tolist(), strict=False) for a, b in one.answers
    ]
    if not spans:
        return np.zeros(len(starts), dtype=np.bool_)
    answers = np.asarray(sorted(spans), dtype=np.int64)
    last = np.searchsorted(answers[:, 0], starts, side="right") - 1  # the answer that begins last before the token
    inside: NDArray[np.bool_] = (last >= 0) & (ends <= answers[last, 1]) & (ends > answers[last, 0])
    return inside


def _numbers(tokenised: Sequence[Any]) -> Iterator[int]:
    return chain.from_iterable(chain.from_iterable(found.offsets for found in tokenised))
