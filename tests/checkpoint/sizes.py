"""What ranks do in the tests of runs that go on with another number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.equivalence.trajectory import data, engine
from tests.plans import tiny_plan
from tunefleet.base.errors import RunError
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.config.data import Grouping
from tunefleet.data.order import OrderedBatches
from tunefleet.engine.group import join
from tunefleet.plan.contracts import RunState


def parts_of_runs(folder: Path, cases: list[dict[str, Any]]) -> list[Any]:
    """Each case goes on with its run up to step `until`, and saves; the losses of its steps, or why it cannot."""
    torch.set_num_threads(1)
    group = join()
    found = [_part(group, **case) for case in cases]
    group.part()
    return found


def _part(group: Any, run: str, until: int, stage: int, micro: int, packed: bool) -> list[float] | str:
    folder = Path(run)
    plan = tiny_plan(folder, ranks=group.size, stage=stage, micro_batch=micro, global_batch=4)
    built = engine(plan, group)
    store = CheckpointStore(plan.paths.checkpoints, plan.identity, group, 1, seed=plan.config.train.seed)
    try:
        state = store.restore(built) or RunState()
    except RunError as error:
        return str(error)
    rank = plan.layout.data_rank(group.rank)
    batches = OrderedBatches(
        data(),
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
