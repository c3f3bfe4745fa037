"""Loss mask: from rendered conversations to token ids, and which of them are in the loss."""

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
from tunefleet.data.encode.long_rows import Encoded, fit
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.template_rendering import Rendered
from tunefleet.data.encode.token_cache import MaskedTokens, TokenCache
from tunefleet.data.encode.tokenise import Tokenise, TokenisedTexts
from tunefleet.data.formats.conversation import Conversation, Turn

T = TypeVar("T")
ChunkTokens = Sequence[MaskedTokens | int]
"""Of some texts, each: its tokens with their mask, or the character of an answer that merges with its prompt."""
Pair = tuple[Conversation, Encoded]


class Encoder:
    """How the conversations of a run become tokens, in three steps, so that the second can run beside the others.

    `tokenizer` is a fast transformers tokenizer. The text is tokenised as a whole and tokens are assigned by
    their characters, so that no token depends on where a turn was cut. Where the last answer's first token would begin
    in its prompt, the answer is tokenised apart, as generation meets it. What is longer than `longest` tokens becomes
    what `long_rows` says. What `token_cache` holds is not tokenised again.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: Any,
        train_on: TrainOn,
        longest: int,
        long_rows: LongRows = LongRows.TRUNCATE,
        token_cache: TokenCache | None = None,
    ) -> None:
        self._template = template
        self._train_on = train_on
        self._longest = longest
        self._long_rows = long_rows
        self._token_cache = token_cache
        self._end_of_turn = end_of_turn(template, tokenizer)
        self._closers = _closers(self._end_of_turn, tokenizer)
        self.decode = tokenizer.backend_tokenizer.decode
        self._tokenise = Tokenise(tokenizer)

    def without_ends(self, conversations: list[Conversation]) -> list[Conversation] | DataError:
        """Answers without an end of sequence of their own, where the template writes one: it would be doubled."""
        try:
            return [self._without_ends(c) if self._has_ends(c) else c for c in conversations]
        except DataError as error:
            return error

    def _has_ends(self, conversation: Conversation) -> bool:
        if not self._closers:
            return False
        for turn in conversation.turns:  # of every row: a generator takes twice as long
            if turn.role == "assistant" and turn.content.rstrip().endswith(self._closers):
                return True
        return False

    def _without_ends(self, conversation: Conversation) -> Conversation:
        turns = [self._without_end(turn) if turn.role == "assistant" else turn for turn in conversation.turns]
        for number, turn in enumerate(turns, 1):
            if turn.role == "assistant" and not turn.content.strip() and not turn.calls:
                raise DataError(
                    f"{conversation.location}: the answer (message {number}) is empty but for its end of sequence."
                )
        return replace(conversation, turns=tuple(turns))

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
        texts = self._template.render_all(conversations, self._train_on)
        return [self._cut_at_stops(*pair) for pair in zip(conversations, texts, strict=True)]

    def _cut_at_stops(self, conversation: Conversation, rendered: Rendered | DataError) -> Rendered | DataError:
        if self._train_on is TrainOn.ALL or conversation.is_text or isinstance(rendered, DataError):
            return rendered
        answers = [(start, self._end_of_turn.place(rendered.text, start, end)) for start, end in rendered.answers]
        return Rendered(rendered.text, tuple(answers))

    def tokenise(self, rendered: Sequence[Rendered]) -> ChunkTokens:
        """The tokens of these texts, and which are in the loss. They go into the token cache, if none is bad."""
        path = self._token_cache.path(rendered) if self._token_cache else None
        cached = self._token_cache.read(path) if self._token_cache and path else None
        if cached is not None:
            return cached
        masked = self._masks(rendered, self._tokenise([text.text for text in rendered]))
        good = [pair for pair in masked if not isinstance(pair, int)]
        if self._token_cache and path and good and len(good) == len(masked):
            self._token_cache.write(path, good)
        return masked

    def masked(
        self, conversations: Sequence[Conversation], rendered: Sequence[Rendered], tokens: ChunkTokens
    ) -> Iterator[list[Encoded] | DataError]:
        """What each conversation is trained on as: one part, or several.

        An error stands where a prompt merges with its answer and they cannot be told apart.
        """
        for conversation, text, pair in zip(conversations, rendered, tokens, strict=True):
            if isinstance(pair, int):
                yield _merge_error(conversation, text.text, pair)
            else:
                yield fit(*pair, conversation.is_text, self._longest, self._long_rows)

    def _masks(self, rendered: Sequence[Rendered], tokenised: TokenisedTexts) -> list[MaskedTokens | int]:
        """Whole conversations, or the character at which an answer begins that cannot be told from its prompt."""
        loss_mask, merges = answer_mask(rendered, tokenised)
        bounds = np.cumsum([0, *tokenised.counts]).tolist()
        masked: list[MaskedTokens | int] = [
            (tokenised.tokens[start:end].copy(), loss_mask[start:end].copy()) for start, end in pairwise(bounds)
        ]
        if merges and self._train_on is not TrainOn.ALL:
            pairs = self._answers_by_themselves(
                [rendered[number] for number in merges], [tokenised.tokens[slice(*bounds[n : n + 2])] for n in merges]
            )
            for (number, start), pair in zip(merges.items(), pairs, strict=True):
                masked[number] = pair or start
        return masked

    def _answers_by_themselves(
        self, rendered: Sequence[Rendered], tokens: Sequence[NDArray[np.int32]]
    ) -> Iterator[MaskedTokens | None]:
        """Tokens and mask of each text with the last answer tokenised by itself, behind its prompt.

        None where an earlier answer merges too, whose tokens would be others in the next prompt; and where the
        tokenizer writes something else for a text that stands alone, such as a space before it.
        """
        starts = [text.answers[-1][0] for text in rendered]
        halves = [half for text, start in zip(rendered, starts, strict=True) for half in _halves(text.text, start)]
        parts = self._tokenise(halves)
        behind = np.repeat([offset for start in starts for offset in (0, start)], parts.counts)
        counts = parts.counts.reshape(-1, 2).sum(axis=1)
        joined = TokenisedTexts(parts.tokens, parts.starts + behind, parts.ends + behind, counts)
        loss_mask, merges = answer_mask(rendered, joined)
        bounds = np.cumsum([0, *counts]).tolist()
        for number, (start, end) in enumerate(pairwise(bounds)):
            separate = joined.tokens[start:end].copy()
            is_alike = number not in merges and self._text(separate) == self._text(tokens[number])
            yield (separate, loss_mask[start:end].copy()) if is_alike else None

    def _text(self, tokens: NDArray[np.int32]) -> str:
        return str(self.decode(tokens.tolist(), skip_special_tokens=False))


def _halves(text: str, start: int) -> tuple[str, str]:
    return text[:start], text[start:]


def _closers(end: EndOfTurn, tokenizer: Any) -> tuple[str, ...]:
    """The texts of tokens at which generation stops, where the template ends answers with one of them."""
    texts = tokenizer.convert_ids_to_tokens(list(end.stops)) if end.text else []
    return tuple(text for text in texts if text and text.strip())


def _merge_error(conversation: Conversation, text: str, start: int) -> DataError:
    return DataError(
        f"{conversation.location}: data.template: the prompt's last token merges with the answer's first "
        f"(the prompt ends with {text[:start][-12:]!r}, the answer begins with "
        f"{text[start : start + 12]!r}), so training and inference would differ. End the prompt without a "
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
    return [encoded for _, encoded in encode_pairs(conversations, template, tokenizer, train_on, longest, long_rows)]


def encode_pairs(
    conversations: Sequence[Conversation],
    template: ChatTemplate,
    tokenizer: Any,
    train_on: TrainOn,
    longest: int,
    long_rows: LongRows = LongRows.TRUNCATE,
) -> list[Pair]:
    """As `encode`, each with the conversation that it is, or that it is a part of."""
    encoder = Encoder(template, tokenizer, train_on, longest, long_rows)
    rendered = [_good(text) for text in encoder.render(conversations)]
    parts = encoder.masked(conversations, rendered, encoder.tokenise(rendered))
    pairs = zip(conversations, parts, strict=True)
    return [(conversation, part) for conversation, encoded in pairs for part in _good(encoded)]


def _good(result: T | DataError) -> T:
    if isinstance(result, DataError):
        raise result
    return result


def answer_mask(rendered: Sequence[Rendered], tokenised: TokenisedTexts) -> tuple[NDArray[np.bool_], dict[int, int]]:
    """Whether each token of many texts is in the loss: it lies in an answer, from its first character to its last.

    Also the numbers of the texts in which a token begins before an answer and ends in it, with the character at which
    the first such answer begins.
    """
    lengths = np.array([len(text.text) for text in rendered], dtype=np.int64)
    firsts = np.cumsum(lengths) - lengths  # characters before each text
    base = np.repeat(firsts, tokenised.counts)
    starts, ends = tokenised.starts + base, tokenised.ends + base
    spans = [(a + f, b + f) for text, f in zip(rendered, firsts.tolist(), strict=True) for a, b in text.answers]
    begins, closes = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    behind = np.searchsorted(ends, begins, "right")  # a token of no characters is before the answer that begins there
    inside = np.searchsorted(starts, begins)
    first, last = np.maximum(inside, behind), np.searchsorted(ends, closes, "right")
    preceding_ends = ends[np.maximum(inside, 1) - 1] if len(ends) else begins
    across: NDArray[np.bool_] = (inside > 0) & (preceding_ends > begins)
    crossed = begins[across]
    texts = np.searchsorted(firsts, crossed, "right") - 1
    merges = dict(reversed([*zip(texts.tolist(), (crossed - firsts[texts]).tolist(), strict=True)]))
    loss_mask = np.zeros(len(starts), dtype=np.bool_)
    for start, end in zip(first.tolist(), last.tolist(), strict=True):
        loss_mask[start:end] = True
    return loss_mask, merges
