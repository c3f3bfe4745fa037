"""Which tokens learn: turns rendered conversations into token ids and a loss mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tunefleet.base.errors import DataError
from tunefleet.config.data import LongRows, TrainOn
from tunefleet.data.encode.end_of_turn import EndOfTurn, end_of_turn
from tunefleet.data.encode.long_rows import Encoded, fitted
from tunefleet.data.encode.template import ChatTemplate, Rendered
from tunefleet.data.encode.token_cache import Masked, TokenCache
from tunefleet.data.encode.tokenise import Tokenise, Tokenised
from tunefleet.data.formats.conversation import Conversation, Turn

T = TypeVar("T")
Tokens = Tokenised | list[Masked]
"""Of some texts: made now, or found with their masks."""
Pair = tuple[Conversation, Encoded]


class Encoder:
    """How the conversations of a run become tokens, in three steps, so that the second can run beside the others.

    `tokenizer` is a fast transformers tokenizer. The text is tokenised as a whole and tokens are assigned by
    their characters, so that no token depends on where a turn was cut. Where the last answer's first token would begin
    in its prompt, the answer is tokenised apart, as generation meets it. What is longer than `longest` tokens becomes
    what `long_rows` says. What `known` holds is not tokenised again.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: Any,
        train_on: TrainOn,
        longest: int,
        long_rows: LongRows = LongRows.TRUNCATE,
        known: TokenCache | None = None,
    ) -> None:
        self._template = template
        self._train_on = train_on
        self._longest = longest
        self._long_rows = long_rows
        self._known = known
        self._end = end_of_turn(template, tokenizer)
        self._closers = _closers(self._end, tokenizer)
        self._decode = tokenizer.backend_tokenizer.decode
        self._tokenise = Tokenise(tokenizer)

    def open(self, conversations: list[Conversation]) -> list[Conversation] | DataError:
        """Answers without an end of sequence of their own, where the template writes one: it would be doubled."""
        try:
            return [self._opened(talk) if self._is_closed(talk) else talk for talk in conversations]
        except DataError as error:
            return error

    def _is_closed(self, talk: Conversation) -> bool:
        closers = self._closers
        return bool(closers) and any(t.role == "assistant" and t.content.rstrip().endswith(closers) for t in talk.turns)

    def _opened(self, talk: Conversation) -> Conversation:
        turns = [self._without_end(turn) if turn.role == "assistant" else turn for turn in talk.turns]
        for number, turn in enumerate(turns, 1):
            if turn.role == "assistant" and not turn.content.strip() and not turn.calls:
                raise DataError(f"{talk.where}: the answer (message {number}) is empty but for its end of sequence.")
        return replace(talk, turns=tuple(turns))

    def _without_end(self, turn: Turn) -> Turn:
        content = turn.content
        while content.rstrip().endswith(self._closers):
            content = content.rstrip()
            content = content.removesuffix(next(end for end in self._closers if content.endswith(end)))
        return turn if content is turn.content else replace(turn, content=content)

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

    def tokenise(self, rendered: Sequence[Rendered]) -> Tokens:
        """The tokens of these texts."""
        known = self._known.read(rendered) if self._known else None
        return self._tokenise([one.text for one in rendered]) if known is None else known

    def masked(
        self, conversations: Sequence[Conversation], rendered: Sequence[Rendered], tokens: Tokens
    ) -> Iterator[list[Encoded] | DataError]:
        """What each conversation is trained on as: one part, or several; none of it learns where there is none.

        An error stands where a prompt merges with its answer and they cannot be told apart.
        """
        found = self._masks(conversations, rendered, tokens) if isinstance(tokens, Tokenised) else tokens
        for conversation, one in zip(conversations, found, strict=True):
            if isinstance(one, DataError):
                yield one
            else:
                yield fitted(*one, conversation.is_text, self._longest, self._long_rows)

    def _masks(
        self, conversations: Sequence[Conversation], rendered: Sequence[Rendered], tokenised: Tokenised
    ) -> Sequence[Masked | DataError]:
        """Whole conversations; kept, if none is bad."""
        learns, merged = _learning(rendered, tokenised)
        bounds = np.cumsum([0, *tokenised.counts]).tolist()
        found: list[Masked | DataError] = []
        for number, (start, end) in enumerate(pairwise(bounds)):
            one: Masked | None = tokenised.tokens[start:end].copy(), learns[start:end].copy()
            if number in merged and self._train_on is not TrainOn.ALL:
                one = self._apart(rendered[number], tokenised.tokens[start:end])
            found.append(one or _merges(conversations[number], rendered[number].text, merged[number]))
        good = [one for one in found if not isinstance(one, DataError)]
        if self._known and good and len(good) == len(found):
            self._known.write(rendered, good)
        return found

    def _apart(self, rendered: Rendered, whole: NDArray[np.int32]) -> Masked | None:
        """Tokens and mask with the last answer tokenised by itself, behind its prompt.

        None where an earlier answer merges too, whose tokens would be others in the next prompt; and where the
        tokenizer writes something else for a text that stands alone, such as a space before it.
        """
        place = rendered.answers[-1][0]
        parts = [self._tokenise([text]) for text in (rendered.text[:place], rendered.text[place:])]
        joined = Tokenised(
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([parts[0].starts, parts[1].starts + place]),
            np.concatenate([parts[0].ends, parts[1].ends + place]),
            np.array([len(parts[0].tokens) + len(parts[1].tokens)]),
        )
        learns, merged = _learning([rendered], joined)
        texts = [self._decode(tokens.tolist(), skip_special_tokens=False) for tokens in (joined.tokens, whole)]
        return None if merged or texts[0] != texts[1] else (joined.tokens, learns)


def _closers(end: EndOfTurn, tokenizer: Any) -> tuple[str, ...]:
    """The texts of tokens at which generation stops, where the template ends answers with one of them."""
    texts = tokenizer.convert_ids_to_tokens(list(end.stops)) if end.text else []
    return tuple(text for text in texts if text and text.strip())


def _merges(conversation: Conversation, text: str, place: int) -> DataError:
    return DataError(
        f"{conversation.where}: data.template: the prompt's last token merges with the answer's first "
        f"(the prompt ends with {text[:place][-12:]!r}, the answer begins with "
        f"{text[place : place + 12]!r}), so training and inference would differ. End the prompt without a "
        "space, and begin the answer with it, or take white space from the beginning of the answer."
    )


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
    parts = encoder.masked(conversations, rendered, encoder.tokenise(rendered))
    return [(talk, encoded) for talk, found in zip(conversations, parts, strict=True) for encoded in _good(found)]


def _good(found: T | DataError) -> T:
    if isinstance(found, DataError):
        raise found
    return found


def _learning(rendered: Sequence[Rendered], tokenised: Tokenised) -> tuple[NDArray[np.bool_], dict[int, int]]:
    """Whether each token of many texts learns: it lies in an answer, from its first character to its last.

    Also the numbers of the texts in which a token begins before an answer and ends in it, with the character at which
    the first such answer begins.
    """
    lengths = np.array([len(one.text) for one in rendered], dtype=np.int64)
    firsts = np.cumsum(lengths) - lengths  # characters before each text
    base = np.repeat(firsts, tokenised.counts)
    starts, ends = tokenised.starts + base, tokenised.ends + base
    spans = [(a + f, b + f) for one, f in zip(rendered, firsts.tolist(), strict=True) for a, b in one.answers]
    begins, closes = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    behind = np.searchsorted(ends, begins, "right")  # a token of no characters is before the answer that begins there
    inside = np.searchsorted(starts, begins)
    first, last = np.maximum(inside, behind), np.searchsorted(ends, closes, "right")
    before = ends[np.maximum(inside, 1) - 1] if len(ends) else begins
    across: NDArray[np.bool_] = (inside > 0) & (before > begins)
    crossed = begins[across]
    texts = np.searchsorted(firsts, crossed, "right") - 1
    merged = dict(reversed([*zip(texts.tolist(), (crossed - firsts[texts]).tolist(), strict=True)]))
    learns = np.zeros(len(starts), dtype=np.bool_)
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        learns[start:end] = True
    return learns, merged
