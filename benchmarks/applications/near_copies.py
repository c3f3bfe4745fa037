"""Near copies: sentences that share most of their character trigrams with one of a set."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

SIMILARITY = 0.6
"""Jaccard similarity of character trigrams (pairs in Chinese, where a character is a word) from which it is a copy."""


class Index:
    """Sentences, to be asked for near copies."""

    def __init__(self) -> None:
        self._sentences: dict[str, list[int]] = defaultdict(list)
        self._sizes: list[int] = []

    def add(self, texts: Iterable[str]) -> None:
        """Takes each text in."""
        for text in texts:
            shingles = shingles_of(text)
            for shingle in shingles:
                self._sentences[shingle].append(len(self._sizes))
            self._sizes.append(len(shingles))

    def has_copy_of(self, texts: Iterable[str]) -> bool:
        """Whether a near copy of any of `texts` is there."""
        return any(self._has_copy(shingles_of(text)) for text in texts)

    def _has_copy(self, shingles: frozenset[str]) -> bool:
        shared = Counter(number for shingle in shingles for number in self._sentences.get(shingle, ()))
        return any(
            common >= SIMILARITY * (len(shingles) + self._sizes[number] - common) for number, common in shared.items()
        )


def shingles_of(text: str) -> frozenset[str]:
    """The runs of three letters or digits of a text, two in Chinese, without capitals, punctuation and white space."""
    letters = "".join(char for char in unicodedata.normalize("NFKC", text).lower() if char.isalnum())
    length = 3 if letters.isascii() else 2
    return frozenset(letters[start : start + length] for start in range(max(1, len(letters) - length + 1)))
