"""Mixture of several sources: how often each row is taken, as a pure function of the seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.data import MixedSource


def mixed(sizes: Sequence[int], mix: Sequence[MixedSource], seed: int) -> list[NDArray[np.uint32]]:
    """How often each row stands in a mixture of sources with `sizes` rows: an array for each source."""
    counts = shares(sizes, mix)
    pairs = zip(sizes, counts, strict=True)
    return [drawn(size, count, [seed, number]) for number, (size, count) in enumerate(pairs)]


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


def drawn(size: int, count: int, seed: Sequence[int]) -> NDArray[np.uint32]:
    """How often each of `size` rows is drawn: as often as every other, and a random part of them once more."""
    times = np.full(size, count // max(1, size), dtype=np.uint32)
    if size:
        times[np.random.default_rng(list(seed)).permutation(size)[: count % size]] += 1
    return times
