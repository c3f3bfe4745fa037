"""Near duplicates: texts found by MinHash with banding (Broder, 1997; Leskovec et al., MMDS, ch. 3)."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
from numpy.typing import NDArray

from tunefleet.data.clean.hashes import Numbered

_PERMUTATIONS = 128
_BANDS = 32  # of 4 numbers each: texts of similarity 0.5 meet in one with 87 %, of 0.8 with more than 99.9 %
_TRIPLE = 3  # words
_ROOM = 1_000  # signatures, at the beginning


class NearDuplicates:
    """Remembers texts; `similarity` is the share of common word triples (Jaccard), as their signatures estimate it.

    The estimate's standard deviation is 0.035 at a similarity of 0.8.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._signatures = np.empty((_ROOM, _PERMUTATIONS), dtype=np.uint32)
        self._count = 0
        self._bands = Numbered()

    def is_new(self, text: str) -> bool:
        """Whether no text before was nearly the same; then it is remembered, at about 1.5 kB."""
        signature = _signature(text)
        keys = _keys(signature)
        candidates = {number for key in keys for number in self._bands.numbers(key)}
        if any(self._alike(signature, self._signatures[number]) for number in candidates):
            return False
        for key in keys:
            self._bands.add(key, self._count)
        self._remember(signature)
        return True

    def _remember(self, signature: NDArray[np.uint32]) -> None:
        if self._count == len(self._signatures):
            room = np.empty((self._count // 2, _PERMUTATIONS), dtype=np.uint32)
            self._signatures = np.concatenate([self._signatures, room])
        self._signatures[self._count] = signature
        self._count += 1

    def _alike(self, a: NDArray[np.uint32], b: NDArray[np.uint32]) -> bool:
        return float(np.mean(a == b)) >= self._similarity


def _keys(signature: NDArray[np.uint32]) -> list[int]:
    """A hash for each band and what stands in it."""
    bands = signature.reshape(_BANDS, -1)
    digests = (hashlib.blake2b(bytes([i]) + band.tobytes(), digest_size=8).digest() for i, band in enumerate(bands))
    return [int.from_bytes(digest) for digest in digests]


def _draw() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    rng = np.random.default_rng(0)
    factors, shifts = rng.integers(0, 1 << 63, (2, _PERMUTATIONS), dtype=np.uint64)
    return factors * np.uint64(2) + np.uint64(1), shifts


_FACTORS, _SHIFTS = _draw()


def _signature(text: str) -> NDArray[np.uint32]:
    """The least hash of any triple under each multiply-shift function (Dietzfelbinger et al., 1997).

    The same in every process and on every machine.
    """
    split = text.lower().split()
    triples = {" ".join(split[i : i + _TRIPLE]) for i in range(max(1, len(split) - _TRIPLE + 1))}
    hashes = np.fromiter((zlib.crc32(triple.encode()) for triple in triples), dtype=np.uint64, count=len(triples))
    least = ((hashes[:, None] * _FACTORS + _SHIFTS) >> np.uint64(32)).min(axis=0)
    signature: NDArray[np.uint32] = least.astype(np.uint32)
    return signature
