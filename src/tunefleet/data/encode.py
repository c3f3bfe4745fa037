"""Which tokens learn: turns rendered conversations into token ids and a loss mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base.errors import DataError
from tunefleet.config.data import LongRows, TrainOn
from tunefleet.data.conversation import Conversation
from tunefleet.data.long_rows import Encoded, fitted
from tunefleet.data.template import ChatTemplate, Rendered
from tunefleet.data.tokenise import Tokenise, Tokenised
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
        self.tokenise = Tokenise(tokenizer)

    def render(self, conversations: Sequence[Conversation]) -> list[Rendered | DataError]:
        """The texts, or why there is none. An answer ends with the token at which generation stops: what follows
        is never generated.
        """
        found = self._template.render_all(conversations, self._train_on)
        return [self._ended(talk, one) for talk, one in zip(conversations, found, strict=True)]

    def _ended(self, conversation: Conversation, rendered: Rendered | DataError) -> Rendered | DataError:
        if self._train_on is TrainOn.ALL or conversation.is_text or isinstance(rendered, DataError):
            return rendered
        return Rendered(rendered.text, tuple((a, self._end.of(rendered.text, a, b)) for a, b in rendered.answers))

    def masked(
        self, conversations: Sequence[Conversation], rendered: Sequence[Rendered], tokenised: Tokenised
    ) -> Iterator[list[Encoded]]:
        """What each conversation is trained on as: one part, or several; none of it learns where there is none."""
        learns = _learning(rendered, tokenised)
        bounds = np.cumsum([0, *tokenised.counts]).tolist()
        for conversation, (start, end) in zip(conversations, pairwise(bounds), strict=True):
            tokens, mask = tokenised.tokens[start:end].copy(), learns[start:end].copy()
            yield fitted(tokens, mask, conversation.is_text, self._longest, self._long_rows)


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
    rendered = [_good(one) for one in encoder.render(conversations)]
    parts = encoder.masked(conversations, rendered, encoder.tokenise([one.text for one in rendered]))
    return [(talk, encoded) for talk, found in zip(conversations, parts, strict=True) for encoded in found]


def _good(rendered: Rendered | DataError) -> Rendered:
    if isinstance(rendered, DataError):
        raise rendered
    return rendered


def _learning(rendered: Sequence[Rendered], tokenised: Tokenised) -> NDArray[np.bool_]:
    """Whether each token of many texts learns: it lies in an answer, from its first character to its last."""
    lengths = np.array([len(one.text) for one in rendered], dtype=np.int64)
    firsts = np.cumsum(lengths) - lengths  # characters before each text
    base = np.repeat(firsts, tokenised.counts)
    starts, ends = tokenised.starts + base, tokenised.ends + base
    spans = [(a + f, b + f) for one, f in zip(rendered, firsts.tolist(), strict=True) for a, b in one.answers]
    begins, closes = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    behind = np.searchsorted(ends, begins, "right")  # a token of no characters is before the answer that begins there
    first, last = np.maximum(np.searchsorted(starts, begins), behind), np.searchsorted(ends, closes, "right")
    learns = np.zeros(len(starts), dtype=np.bool_)
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        learns[start:end] = True
    return learns
