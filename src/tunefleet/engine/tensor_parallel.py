"""Tensor parallelism: ranks shard the layers of a model, and gather whole weights again."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from deepspeed.runtime.pipe.topology import PipelineParallelGrid, PipeModelDataParallelTopology
from torch import Tensor, distributed, nn

from tunefleet.engine.group import ProcessGroup
from tunefleet.libraries import deepspeed_private
from tunefleet.plan.deepspeed.autotp import autotp_config
from tunefleet.plan.families.tensor import shard_dimension
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.layout import Layout


def shard_layers(model: Any, plan: Plan, group: ProcessGroup) -> None:
    """Leaves this rank its shard of every weight of `model` that the plan shards, and layers that add partial sums up.

    DeepSpeed's AutoTP does it, before there is an engine: so it works on one stage of a pipeline, on weights that
    are still in their file, and master weights can start at what is read. Parameters stay the same objects.
    """
    if plan.layout.tensor == 1:
        return
    degree, config = plan.layout.tensor, autotp_config(plan.sources.architecture, plan.layout.tensor)
    deepspeed_private.shard_layers(model, config, degree, group.adjacent_ranks(degree))
    _expect_as_planned(model, plan)


def _expect_as_planned(model: nn.Module, plan: Plan) -> None:
    """Fails where DeepSpeed shards other weights than the plan says: ranks would add up other things."""
    sharded = {name for name, weight in model.named_parameters() if deepspeed_private.is_tensor_sharded(weight)}
    expected = {name for name, _ in model.named_parameters() if _dimension(plan, name) is not None}
    assert sharded == expected, f"DeepSpeed shards other weights than the plan: {sorted(sharded ^ expected)}"


def topology(layout: Layout) -> PipeModelDataParallelTopology:
    """The processes of `layout` as DeepSpeed describes them: its order of ranks is ours."""
    return PipeModelDataParallelTopology(num_pp=layout.pipeline, num_mp=layout.tensor, num_dp=layout.data_parallel)


def grid(layout: Layout) -> PipelineParallelGrid | None:
    """The tensor-parallel groups; None where there are none, or a pipeline has its own. Collective."""
    if layout.tensor == 1 or layout.pipeline > 1:
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its topology
        return PipelineParallelGrid(topology(layout))


def gather(weights: dict[str, Tensor], plan: Plan, group: ProcessGroup) -> dict[str, Tensor]:
    """Whole weights for those that ranks hold shards of, on the CPU of the first of them. Collective among them.

    DeepSpeed's own way (GatherReplacedLayerParams) gives a weight other memory, and in bf16 it is not trained any more.
    """
    tp_group = group.adjacent_ranks(plan.layout.tensor)
    if tp_group is None:
        return weights
    gathered = {}
    for name, weight in weights.items():
        dim = _dimension(plan, name)
        shards = [weight.detach()] if dim is None else _all_shards(weight.detach(), tp_group)
        if tp_group.rank() == 0:
            gathered[name] = shards[0].cpu() if dim is None else torch.cat([shard.cpu() for shard in shards], dim)
    return gathered


def _all_shards(weight: Tensor, tp_group: distributed.ProcessGroup) -> list[Tensor]:
    """What every rank of the group holds of a weight, in their order."""
    shards = [torch.empty_like(weight, memory_format=torch.contiguous_format) for _ in range(tp_group.size())]
    distributed.all_gather(shards, weight.contiguous(), group=tp_group)
    return shards


def release() -> None:
    """Forgets the tensor-parallel groups: the next engine of this process may be laid out otherwise."""
    deepspeed_private.release_groups()


def _dimension(plan: Plan, name: str) -> int | None:
    return shard_dimension(plan.sources.architecture, name)
