"""A rank whose device has room for so many rows only: `python -m tests.doors.rank_without_memory RUN_DIRECTORY`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from tunefleet.doors import rank
from tunefleet.engine.zero import ZeroEngine
from tunefleet.plan.plan import Plan

ROOM = 4  # rows at once, in rank 1, from the third step on
_COUNT = "_counted_steps"


def main() -> None:
    """A rank as any other, with a smaller device."""
    straight = ZeroEngine.train_step

    def train_step(self: Any, micro_batches: Any, *rules: Any) -> Any:
        setattr(self, _COUNT, getattr(self, _COUNT, 0) + 1)
        rows = max(batch.tokens.shape[0] for batch in micro_batches)
        if rows > ROOM and os.environ["RANK"] == "1" and getattr(self, _COUNT) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has 79.10 GiB.")
        return straight(self, micro_batches, *rules)

    ZeroEngine.train_step = train_step  # type: ignore[method-assign]
    rank.prepare_environment(Plan.read(Path(sys.argv[1])))
    rank.main()


if __name__ == "__main__":
    main()
