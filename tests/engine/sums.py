"""What ranks do in the test of the dtype in which gradients are summed: DeepSpeed's collectives are watched."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from tests.plans import tiny_plan
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.engine.group import join
from tunefleet.runs.trajectory import engine, rows

SUMS = ("all_reduce", "reduce", "reduce_scatter", "reduce_scatter_tensor", "_reduce_scatter_base")
_SMALLEST = 64  # elements: what is smaller are counts, losses and norms


def dtypes(folder: Path, argument: Any) -> dict[str, list[str]]:
    """The dtypes of all large sums of a step, by strategy; `argument`: {name: (settings, whether with our key)}."""
    torch.set_num_threads(1)
    watched: Counter[str] = Counter()
    _watch(watched)
    group, outcome = join(), {}
    for name, (settings, is_ours) in argument.items():
        plan = tiny_plan(folder, "llama", ranks=group.size, micro_batch=2, **settings)
        if not is_ours:
            plan.engine.pop("communication_data_type")
        built = engine(plan, group)
        batches = OrderedBatches(rows(), plan.batch, plan.layout.data_rank(group.rank), seed=3, pad=0, packed=True)
        micro_batches = batches.take(plan.batch.accumulation)
        watched.clear()
        built.train_step(micro_batches)
        outcome[name] = sorted(watched)
        built.close()
    group.destroy()
    return outcome


def _watch(watched: Counter[str]) -> None:
    """Before DeepSpeed is imported by the group: it calls torch's functions by their names."""
    for name in SUMS:
        if hasattr(distributed, name):
            setattr(distributed, name, _watching(getattr(distributed, name), watched))


def _watching(act: Any, watched: Counter[str]) -> Any:
    def watching(*args: Any, **settings: Any) -> Any:
        for value in _tensors([*args, *settings.values()]):
            if value.numel() >= _SMALLEST:
                watched[str(value.dtype).removeprefix("torch.")] += 1
        return act(*args, **settings)

    return watching


def _tensors(values: Any) -> list[torch.Tensor]:
    if torch.is_tensor(values):
        return [values]
    return [tensor for value in values for tensor in _tensors(value)] if isinstance(values, (list, tuple)) else []
