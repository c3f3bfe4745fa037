"""What ranks do in the tests of runs that go on with another number of processes or another strategy."""

from __future__ import annotations

import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any
from unittest.mock import patch

import torch

from tests.plans import tiny_plan
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import part
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.config.data import Grouping
from tunefleet.contracts import RunState
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.engine.group import join
from tunefleet.engine.saved_state import SavedParameter
from tunefleet.libraries import deepspeed_private
from tunefleet.runs import trajectory
from tunefleet.runs.trainable_model import set_trainable


def parts_of_runs(folder: Path, cases: list[dict[str, Any]]) -> list[Any]:
    """Each case goes on with its run up to step `until`, and saves; the losses of its steps, or why it cannot."""
    torch.set_num_threads(1)
    group = join()
    results = [_part(group, **case) for case in cases]
    group.destroy()
    return results


def _part(group: Any, run: str, until: int, micro: int, **settings: Any) -> list[float] | str:
    """`forget` is the control: moments begin at zero again. `offload` is of the optimizer, above stage 0."""
    print(f"{run} up to step {until}, {getrusage(RUSAGE_SELF).ru_maxrss >> 10} MiB", time.monotonic(), flush=True)
    forget, packed = settings.pop("forget", False), settings.pop("packed", True)
    if settings.pop("offload", False) and (stage := settings["stage"]):
        settings["parallel"] = {"name": "offload", "zero_stage": stage, "offload_optimizer": "cpu"}
    plan = tiny_plan(Path(run), ranks=group.size, micro_batch=micro, global_batch=4, **settings)
    model = trajectory.model(plan.sources.architecture)
    set_trainable(plan, model)
    built = trajectory.engine(plan, group, model)
    seed, run_of = plan.config.train.seed, (plan.identity, group, Retention(1))
    store = CheckpointStore(Path(run) / "checkpoints", *run_of, seed=seed, trajectory=plan.trajectory)
    try:
        with patch.object(SavedParameter, "add", _without_moments if forget else SavedParameter.add):
            state = store.restore(built) or RunState()
    except RunError as error:
        return str(error)
    batches = OrderedBatches(
        trajectory.rows(),
        plan.batch,
        plan.layout.data_rank(group.rank),
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


_add = SavedParameter.add


def _without_moments(parameter: SavedParameter, flat: Any, state: Any, start: int, size: int) -> None:
    _add(parameter, flat, {key: value if key == "step" else value * 0 for key, value in state.items()}, start, size)


def loss_scales(folder: Path, argument: Any) -> list[float]:
    """fp16's loss scale where a run was saved, and where it goes on in the same and in another shape."""
    torch.set_num_threads(1)
    group = join()
    plan = tiny_plan(folder, ranks=group.size, micro_batch=2, precision="fp16")

    def started() -> Any:
        return trajectory.engine(plan, group, trajectory.model(plan.sources.architecture))

    built = started()
    built.train_step(trajectory.batches(plan, group.rank).take(plan.batch.accumulation))
    deepspeed_private.set_loss_scale(built._engine, 1234.0)
    part.write(folder / "saved", built.shards("shards"))
    scales = [_scale(built)]
    for name in ("restore", "restore_resized"):
        resumed = started()
        getattr(resumed, name)(folder / "saved", "shards", 1)
        scales.append(_scale(resumed))
    group.destroy()
    return scales


def _scale(built: Any) -> float:
    scaler = deepspeed_private.autocast_scaler(built._engine)
    assert scaler
    return float(scaler.state_dict()["scale"])
