"""Collation: from sequences to tensors; positions restart and labels are shifted within each conversation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.data.store.dataset import Dataset


def collate(data: Dataset, numbers: Sequence[int], pad: int, packed: bool) -> MicroBatch:
    """The micro-batch of the sequences `numbers`, each padded on the right with the token `pad` to the longest of them.

    A number of -1 is an empty sequence: padding only, to keep ranks in step.
    """
    sequences = [data.sequence(number) if number >= 0 else [] for number in numbers]
    width = max(1, *(sum(len(tokens) for tokens, _ in sequence) for sequence in sequences))
    tokens, positions, labels, segments = (
        np.full((len(numbers), width), fill, dtype=np.int64) for fill in (pad, 0, IGNORED, 0)
    )
    for number, sequence in enumerate(sequences):
        _fill(sequence, tokens[number], positions[number], labels[number], segments[number])
    tensors = [torch.from_numpy(array) for array in (tokens, positions, labels, segments)]
    return MicroBatch(tensors[0], tensors[1], tensors[2], tensors[3] if packed else None)


def _fill(
    sequence: Sequence[tuple[NDArray[np.int32], NDArray[np.bool_]]],
    tokens: NDArray[np.int64],
    positions: NDArray[np.int64],
    labels: NDArray[np.int64],
    segments: NDArray[np.int64],
) -> None:
    start = 0
    for segment, (ids, loss_mask) in enumerate(sequence, 1):
        end = start + len(ids)
        tokens[start:end] = ids
        positions[start:end] = np.arange(len(ids))
        segments[start:end] = segment
        labels[start : end - 1] = np.where(loss_mask[1:], ids[1:], IGNORED)
        start = end
