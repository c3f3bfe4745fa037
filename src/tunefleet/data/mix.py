"""How are several sources drawn together: how many rows of each, and which? A pure function of the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from tunefleet.config.data import MixedSource

T = TypeVar("T")


def mixed(parts: Sequence[Sequence[T]], mix: Sequence[MixedSource], seed: int) -> list[T]:
    """The rows of a mixture, source after source; training draws their order."""
    counts = shares([len(part) for part in parts], mix)
    return [
        part[i]
        for number, (part, count) in enumerate(zip(parts, counts, strict=True))
        for i in drawn(len(part), count, [seed, number])
    ]


def shares(sizes: Sequence[int], mix: Sequence[MixedSource]) -> list[int]:
    """How many rows each source gives.

    By weight, all together are as many as the sources hold; else each gives its rows times its epochs.
    """
    if any(source.weight for source in mix):
        return _apportioned(sum(sizes), [source.weight or 0.0 for source in mix])
    return [round(size * (source.epochs or 1.0)) for size, source in zip(sizes, mix, strict=True)]


def _apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """`total` by largest remainders, so that nothing is lost to rounding."""
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def drawn(size: int, count: int, seed: Sequence[int]) -> list[int]:
    """`count` numbers of `size` rows: every row as often as every other, and a random part of them once more."""
    if not size:
        return []
    extra = np.random.default_rng(list(seed)).permutation(size)[: count % size]
    return list(range(size)) * (count // size) + sorted(extra.tolist())
