"""What a rank does in the tests of planted code: saves with DeepSpeed, plants code in the files, reads them again."""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import distributed

from tests.plans import tiny_plan
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import part
from tunefleet.engine import shards
from tunefleet.engine.group import join
from tunefleet.runs.trajectory import batches, engine


class Planted:
    """Makes the folder `marker` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str, int, bool]]:
        return os.makedirs, (str(self._marker), 0o777, True)


def readings(folder: Path, cases: list[list[Any]]) -> list[list[Any]]:
    """[message, whether the planted code ran] of every case: [stage, reader, which files, with the defence or not]."""
    torch.set_num_threads(1)
    group = join()
    found = []
    for stage in dict.fromkeys(case[0] for case in cases):
        plan = tiny_plan(folder, ranks=group.size, stage=stage, micro_batch=2)
        built = engine(plan, group)
        built.train_step(batches(plan, group.rank).take(plan.batch.accumulation))
        found += [_reading(folder, built, number, *case) for number, case in enumerate(cases) if case[0] == stage]
        built.close()
    group.destroy()
    return found


def _reading(folder: Path, built: Any, number: int, stage: int, reader: str, files: str, defended: bool) -> list[Any]:
    saved = folder / f"saved{number}"
    part.write(saved, built.shards("shards"))
    distributed.barrier()  # type: ignore[no-untyped-call]  # each rank plants in the files of all
    marker = folder / f"marker{number}"
    for file in (saved / "shards").glob(files):
        content = torch.load(file, weights_only=False)
        torch.save({**content, "planted": Planted(marker)}, file)
    with ExitStack() as switched:
        if not defended:
            switched.enter_context(patch.object(shards, "code_free", nullcontext))
            switched.enter_context(patch.object(shards, "read", partial(torch.load, weights_only=False)))
        message = _read(built, saved, reader)
    return [message, marker.exists()]


def _read(built: Any, saved: Path, reader: str) -> str:
    try:
        if reader == "resume":
            built.restore(saved, "shards", 1)
        elif reader == "resize":
            built.restore_resized(saved, "shards", 1)
        elif reader == "masters":
            shards.masters(saved / "shards", frozen_left_out=False)
        else:
            shards.read(saved / "shards" / "mp_rank_00_model_states.pt")
    except RunError as error:
        return str(error)
    return ""
