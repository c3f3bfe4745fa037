"""How do texts become tokens that know their characters: by the model's own tokenizer, or by a faster one like it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.encode.fast_bpe import FastBpe, fast_bpe

_WORTH = 10  # ASCII characters for each token of the vocabulary take about as long as building the faster one


@dataclass(frozen=True)
class Tokenised:
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
        self._own = tokenizer.backend_tokenizer
        self._own.no_truncation()  # how it was called last
        self._own.no_padding()
        self._rest = _WORTH * len(tokenizer)  # characters until the faster one is built
        self._fast: FastBpe | None = None
        self._building = Lock()

    def __call__(self, texts: Sequence[str]) -> Tokenised:
        """All texts, in their order."""
        plain = [text for text in texts if text.isascii()]
        fast = self._faster(sum(map(len, plain)))
        if not fast or not plain:
            return _by_own(texts, self._own)
        try:
            found = _by_fast(plain, fast)
        except ValueError:  # a million spaces
            return _by_own(texts, self._own)
        others = [text for text in texts if not text.isascii()]
        return _merged(found, _by_own(others, self._own), np.array([text.isascii() for text in texts]))

    def _faster(self, characters: int) -> FastBpe | None:
        """The faster one, if so many more characters are worth it, and there is one."""
        with self._building:
            before, self._rest = self._rest, self._rest - characters
            if before > 0 >= self._rest:
                self._fast = fast_bpe(self._own)
            return self._fast


def _by_own(texts: Sequence[str], tokenizer: Any) -> Tokenised:
    """A token begins where the last one ended: GPT-NeoX and others trim spaces from the offsets they tell."""
    found = tokenizer.encode_batch(list(texts), add_special_tokens=False)  # the template has them
    counts = np.array([len(one) for one in found], dtype=np.int64)
    tokens = np.fromiter(chain.from_iterable(one.ids for one in found), dtype=np.int32)
    told = chain.from_iterable(chain.from_iterable(one.offsets for one in found))
    offsets = np.fromiter(told, dtype=np.int64, count=2 * len(tokens)).reshape(-1, 2)
    base = _before(texts, counts)
    ends = np.maximum.accumulate(offsets[:, 1] + base)
    starts = np.minimum(offsets[:, 0] + base, np.maximum(np.concatenate([[0], ends[:-1]]), base))
    return Tokenised(tokens, starts - base, ends - base, counts)


def _by_fast(texts: Sequence[str], tokenizer: FastBpe) -> Tokenised:
    tokens, sizes, counts = tokenizer(texts)
    ends = np.cumsum(sizes) - _before(texts, counts)
    return Tokenised(tokens, ends - sizes, ends, counts)


def _before(texts: Sequence[str], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each token the characters of all texts before its own."""
    return np.repeat(np.cumsum([0, *map(len, texts)])[:-1], counts)


def _merged(some: Tokenised, others: Tokenised, of_some: NDArray[np.bool_]) -> Tokenised:
    """The texts of both, in the order that `of_some` gives."""
    counts = np.empty(len(of_some), dtype=np.int64)
    counts[of_some], counts[~of_some] = some.counts, others.counts
    here = np.repeat(of_some, counts)

    def both(name: str) -> NDArray[Any]:
        found = np.empty(len(here), dtype=getattr(some, name).dtype)
        found[here], found[~here] = getattr(some, name), getattr(others, name)
        return found

    return Tokenised(both("tokens"), both("starts"), both("ends"), counts)
