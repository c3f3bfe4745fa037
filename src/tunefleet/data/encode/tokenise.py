"""Tokenising: from texts to tokens that know their characters, by the model's tokenizer or a faster one like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.encode.fast_bpe import FastBpe, fast_bpe
from tunefleet.libraries import tokenizer_panics

WORTH_BUILDING = 10
"""ASCII characters for each token of the vocabulary that take about as long as building the faster tokenizer."""


@dataclass(frozen=True)
class TokenisedTexts:
    """The tokens of many texts, one text behind the other, and the characters of its text that each begins and ends at.

    Shapes: `tokens`, `starts` and `ends` [tokens], none of which goes back within a text; `counts` [texts].
    """

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    counts: NDArray[np.int64]


class Tokenise:
    """On several cores and without Python's lock; the same tokens, whichever tokenizer makes them.

    ASCII is for the faster one, where there is one: the first texts of a large source already pay for building it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._model = tokenizer.backend_tokenizer
        self._model.no_truncation()  # how it was called last
        self._model.no_padding()
        self._characters_left = WORTH_BUILDING * len(tokenizer)  # characters until the faster one is built
        self._fast: FastBpe | None = None
        self._building = Lock()

    def __call__(self, texts: Sequence[str]) -> TokenisedTexts:
        """All texts, in their order."""
        plain = [text for text in texts if text.isascii()]
        fast = self._faster(sum(map(len, plain)))
        if not fast or not plain:
            return _by_model(texts, self._model)
        try:
            of_plain = _by_fast(plain, fast)
        except ValueError:  # a million spaces
            return _by_model(texts, self._model)
        of_unicode = _by_model([text for text in texts if not text.isascii()], self._model)
        return _merged(of_plain, of_unicode, np.array([text.isascii() for text in texts]))

    def _faster(self, characters: int) -> FastBpe | None:
        """The faster one, if so many more characters are worth it, and there is one."""
        with self._building:
            characters_before, self._characters_left = self._characters_left, self._characters_left - characters
            if characters_before > 0 >= self._characters_left:
                self._fast = fast_bpe(self._model)
            return self._fast


def _by_model(texts: Sequence[str], tokenizer: Any) -> TokenisedTexts:
    """A token begins where the last one ended: GPT-NeoX and others trim spaces from the offsets they tell."""
    with tokenizer_panics.refused():
        encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)  # the template has them
    counts = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
    tokens = np.fromiter(chain.from_iterable(encoding.ids for encoding in encodings), dtype=np.int32)
    flat_offsets = chain.from_iterable(chain.from_iterable(encoding.offsets for encoding in encodings))
    offsets = np.fromiter(flat_offsets, dtype=np.int64, count=2 * len(tokens)).reshape(-1, 2)
    base = _base(texts, counts)
    ends = np.maximum.accumulate(offsets[:, 1] + base)
    starts = np.minimum(offsets[:, 0] + base, np.maximum(np.concatenate([[0], ends[:-1]]), base))
    return TokenisedTexts(tokens, starts - base, ends - base, counts)


def _by_fast(texts: Sequence[str], tokenizer: FastBpe) -> TokenisedTexts:
    tokens, sizes, counts = tokenizer(texts)
    ends = np.cumsum(sizes) - _base(texts, counts)
    return TokenisedTexts(tokens, ends - sizes, ends, counts)


def _base(texts: Sequence[str], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each token the characters of all texts before its own."""
    return np.repeat(np.cumsum([0, *map(len, texts)])[:-1], counts)


def _merged(first: TokenisedTexts, second: TokenisedTexts, is_first: NDArray[np.bool_]) -> TokenisedTexts:
    """The texts of both, in the order that `is_first` gives."""
    counts = np.empty(len(is_first), dtype=np.int64)
    counts[is_first], counts[~is_first] = first.counts, second.counts
    of_first = np.repeat(is_first, counts)

    def merged(name: str) -> NDArray[Any]:
        values = np.empty(len(of_first), dtype=getattr(first, name).dtype)
        values[of_first], values[~of_first] = getattr(first, name), getattr(second, name)
        return values

    return TokenisedTexts(merged("tokens"), merged("starts"), merged("ends"), counts)
