"""Collation: from sequences to tensors; positions restart and labels are shifted within each conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.data.store.dataset import Dataset


@dataclass(frozen=True)
class Widths:
    """The tokens that sequences may be padded to: a multiple of `multiple`, and no more than `most` because of that."""

    multiple: int = 1
    most: int = 0

    def of(self, longest: int) -> int:
        """The width of a micro-batch whose longest sequence has `longest` tokens."""
        return max(longest, min(-(-longest // self.multiple) * self.multiple, self.most))


EXACT = Widths()


def collate(data: Dataset, numbers: Sequence[int], pad: int, packed: bool, widths: Widths = EXACT) -> MicroBatch:
    """The micro-batch of the sequences `numbers`, each padded on the right with the token `pad` to the longest of them.

    A number of -1 is an empty sequence: padding only, to keep ranks in step. Positions count on in the padding of a
    single conversation: where they began again, transformers would take it for a packed one, and make a mask for it.
    """
    sequences = [data.sequence(number) if number >= 0 else [] for number in numbers]
    width = widths.of(max(1, *(sum(len(tokens) for tokens, _ in sequence) for sequence in sequences)))
    tokens, positions, labels, segments = (
        np.full((len(numbers), width), fill, dtype=np.int64) for fill in (pad, 0, IGNORED, 0)
    )
    for number, sequence in enumerate(sequences):
        end = _fill(sequence, tokens[number], positions[number], labels[number], segments[number])
        positions[number, end:] = np.arange(width - end) + (0 if packed else end)
    tensors = [torch.from_numpy(array) for array in (tokens, positions, labels, segments)]
    return MicroBatch(tensors[0], tensors[1], tensors[2], tensors[3] if packed else None)


def _fill(
    sequence: Sequence[tuple[NDArray[np.int32], NDArray[np.bool_]]],
    tokens: NDArray[np.int64],
    positions: NDArray[np.int64],
    labels: NDArray[np.int64],
    segments: NDArray[np.int64],
) -> int:
    """Writes a sequence into its row of each tensor, and returns where its padding begins."""
    start = 0
    for segment, (ids, loss_mask) in enumerate(sequence, 1):
        end = start + len(ids)
        tokens[start:end] = ids
        positions[start:end] = np.arange(len(ids))
        segments[start:end] = segment
        labels[start : end - 1] = np.where(loss_mask[1:], ids[1:], IGNORED)
        start = end
    return start
