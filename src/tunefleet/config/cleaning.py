"""Settings `data.clean`: which training rows are left out on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.config.fields import ranged


class Duplicates(Enum):
    """Which conversations count as the same; the first one stays."""

    KEEP = "keep"
    EXACT = "exact"
    NEAR = "near"


@dataclass(frozen=True)
class CleanConfig:
    """Steps in this order, each counted in the run's output; by default there is none."""

    normalise: bool = False
    """Bring all text to Unicode's composed form (NFC), without control characters other than line breaks and tabs."""
    min_characters: int = ranged(0, at_least=0)
    """Leave out conversations that are shorter, all their turns together."""
    max_characters: int | None = ranged(None, at_least=1)
    """Leave out conversations that are longer, all their turns together."""
    keep: str | None = None
    """Regular expression (Python's) that a conversation must match somewhere."""
    drop: str | None = None
    """Regular expression that leaves a conversation out."""
    duplicates: Duplicates = Duplicates.KEEP
    """Leave out conversations that are there already: the same text (exact), or nearly the same (near)."""
    similarity: float = ranged(0.8, above=0, at_most=1)
    """Share of common word triples from which on two conversations are nearly the same."""
