"""Augmentation of training rows: copies of a question without some of its words (word dropout, Iyyer et al. 2015)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks.applications.rows import Row

SHARE = 0.2
"""Probability with which a word is left out."""
_FEWEST = 2  # words that stay


def with_copies(rows: Sequence[Row], copies: int) -> list[Row]:
    """The rows as they are, and `copies` of each with words left out; the same at every call."""
    generator = random.Random(0)
    return [*rows, *(_without_words(row, generator) for _ in range(copies) for row in rows)]


def _without_words(row: Row, generator: random.Random) -> Row:
    words = row["text"].split()
    kept = [word for word in words if generator.random() >= SHARE]
    return {**row, "text": " ".join(kept if len(kept) >= _FEWEST else words)}
