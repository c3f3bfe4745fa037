"""Sequence shard: the part of every sequence that is a rank's, where sequence-parallel ranks split them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional

from tunefleet.contracts import IGNORED, MicroBatch


def sequence_shard(batch: MicroBatch, rank: int, degree: int) -> MicroBatch:
    """The tokens, positions and labels of `rank` among `degree` ranks; segments stay whole, as attention does.

    Sequences are padded on the right to a multiple of `degree`, in a segment of their own, out of the loss.
    """
    if degree == 1:
        return batch
    missing = -batch.tokens.shape[1] % degree

    def shard(tensor: Tensor, fill: int) -> Tensor:
        part = functional.pad(tensor, (0, missing), value=fill).chunk(degree, dim=1)[rank].contiguous()
        return part.pin_memory() if tensor.is_pinned() else part  # or the copy to the GPU would be waited for

    return replace(
        batch,
        tokens=shard(batch.tokens, 0),
        positions=shard(batch.positions, 0),
        labels=shard(batch.labels, IGNORED),
        segments=None if batch.segments is None else functional.pad(batch.segments, (0, missing)),
    )
