"""Answer trie: the answers that may be given, as a tree of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_Node = dict[int, Any]


class AnswerTrie:
    """`answers` are token sequences, each with the stop token that ends it. Raises `ValueError` without any."""

    def __init__(self, answers: Iterable[Sequence[int]]) -> None:
        self._root: _Node = {}
        self.answers = tuple(sorted({tuple(answer) for answer in answers}))
        if not self.answers:
            raise ValueError("a trie without answers")
        for answer in self.answers:
            node = self._root
            for token in answer:
                node = node.setdefault(token, {})

    def __repr__(self) -> str:
        return f"AnswerTrie({list(self.answers)!r})"

    @property
    def longest(self) -> int:
        """Tokens of the longest answer, its stop token included."""
        return max(map(len, self.answers))

    def next_tokens(self, prefix: Sequence[int]) -> list[int]:
        """The tokens that may follow `prefix`; none behind a whole answer, nor behind what begins none."""
        node = self._root
        for token in prefix:
            if token not in node:
                return []
            node = node[token]
        return list(node)
