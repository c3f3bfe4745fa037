"""Made-up words: a model has to copy what it cannot know.

Each letter is drawn from those that follow the letter before it somewhere in a word list: the words are
as varied as names, and which piece of one comes next cannot be guessed. None of them is a word that
validation keeps for itself, nor becomes one by an s more or less.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterable

_START, _END = "^", "$"
_LETTERS = range(4, 11)


class Maker:
    """Makes words of 4 to 10 letters like those of `examples`, never one of `kept_out`."""

    def __init__(self, examples: Iterable[str], kept_out: Collection[str]) -> None:
        self._kept_out = frozenset(form for word in kept_out for form in (word, f"{word}s", word.removesuffix("s")))
        self._followers = _followers(examples)

    def make(self, rng: random.Random) -> str:
        """One made-up word."""
        while True:
            candidate = self._chain(rng)
            if len(candidate) in _LETTERS and candidate not in self._kept_out:
                return candidate

    def _chain(self, rng: random.Random) -> str:
        """Letters from the start to an end, at most one too many."""
        letters, letter = "", _START
        while len(letters) < _LETTERS.stop and (letter := rng.choice(self._followers[letter])) != _END:
            letters += letter
        return letters


def _followers(examples: Iterable[str]) -> dict[str, str]:
    """The letters that follow each letter, as often as they do."""
    followers: dict[str, str] = {}
    for example in examples:
        letters = f"{_START}{example.replace(' ', '')}{_END}"
        for letter, follower in itertools.pairwise(letters):
            followers[letter] = followers.get(letter, "") + follower
    return followers
