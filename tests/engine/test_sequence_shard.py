"""Are the parts of sequences that ranks share pinned where the whole ones were, so that no copy is waited for?"""

from __future__ import annotations

import pytest
import torch

from tunefleet.contracts import MicroBatch
from tunefleet.engine.sequence_shard import sequence_shard


@pytest.mark.parametrize("pinned", [True, False])
def test_a_part_is_pinned_as_the_whole_was(monkeypatch: pytest.MonkeyPatch, pinned: bool) -> None:
    asked: list[torch.Size] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        asked.append(tensor.shape)
        return tensor

    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: pinned)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    rows = torch.arange(14).reshape(2, 7)
    shard = sequence_shard(MicroBatch(rows, rows, rows, None), 1, 2)
    assert shard.tokens.tolist() == [[4, 5, 6, 0], [11, 12, 13, 0]]
    assert shard.tokens.is_contiguous()
    assert asked == [torch.Size([2, 4])] * 3 * pinned
