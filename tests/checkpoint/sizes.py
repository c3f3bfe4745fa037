"""What ranks do in the tests of runs that go on with another number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.plans import tiny_plan
from tunefleet.base.errors import RunError
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.config.data import Grouping
from tunefleet.contracts import RunState
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.engine import reshard
from tunefleet.engine.group import join
from tunefleet.runs.trajectory import engine, rows


def parts_of_runs(folder: Path, cases: list[dict[str, Any]]) -> list[Any]:
    """Each case goes on with its run up to step `until`, and saves; the losses of its steps, or why it cannot."""
    torch.set_num_threads(1)
    group = join()
    results = [_part(group, **case) for case in cases]
    group.destroy()
    return results


def _part(group: Any, run: str, until: int, micro: int, **settings: Any) -> list[float] | str:
    """`forget` is the control: what loading spoils is not mended."""
    forget, packed = settings.pop("forget", False), settings.pop("packed", True)
    plan = tiny_plan(Path(run), ranks=group.size, micro_batch=micro, global_batch=4, **settings)
    built = engine(plan, group)
    store = CheckpointStore(plan.paths.checkpoints, plan.identity, group, Retention(1), seed=plan.config.train.seed)
    try:
        with patch.object(reshard, "repair", _leave_unchanged if forget else reshard.repair):
            state = store.restore(built) or RunState()
    except RunError as error:
        return str(error)
    rank = plan.layout.data_rank(group.rank)
    batches = OrderedBatches(
        rows(),
        plan.batch,
        rank,
        seed=3,
        pad=0,
        packed=True,
        position=state.position,
        grouping=Grouping.NEVER if packed else Grouping.WINDOW,
    )
    losses = []
    while state.step < until:
        result = built.train_step(batches.take(plan.batch.accumulation))
        state = state.advanced(result, batches.position)
        losses.append(result.loss)
    store.save(built, state)
    built.close()
    return losses


def _leave_unchanged(engine: Any, settings: Any, step: int) -> None:
    pass
