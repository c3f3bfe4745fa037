"""Which part of the rows is this process's, where several share every row?"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional

from tunefleet.contracts import IGNORED, MicroBatch


def sequence_shard(batch: MicroBatch, part: int, parts: int) -> MicroBatch:
    """Part number `part` of every row's tokens, positions and labels; segments stay whole, as attention does.

    Rows are padded on the right to a multiple of `parts`, in a segment of their own, out of the loss.
    """
    if parts == 1:
        return batch
    missing = -batch.tokens.shape[1] % parts

    def own(whole: Tensor, fill: int) -> Tensor:
        return functional.pad(whole, (0, missing), value=fill).chunk(parts, dim=1)[part]

    return replace(
        batch,
        tokens=own(batch.tokens, 0),
        positions=own(batch.positions, 0),
        labels=own(batch.labels, IGNORED),
        segments=None if batch.segments is None else functional.pad(batch.segments, (0, missing)),
    )
