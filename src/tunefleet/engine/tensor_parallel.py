"""What tensor peers do together: they divide the weights, and know whole ones only together."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from deepspeed.module_inject import set_autotp_mode
from deepspeed.module_inject.auto_tp import AutoTP
from deepspeed.module_inject.autotp_config import AutoTPConfig
from deepspeed.runtime.pipe.topology import PipelineParallelGrid, PipeModelDataParallelTopology
from deepspeed.utils import groups
from torch import Tensor, distributed, nn

from tunefleet.engine.group import ProcessGroup
from tunefleet.plan.deepspeed.autotp import autotp_config
from tunefleet.plan.families.tensor import shard_dimension
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.layout import Layout


def shard_layers(model: Any, plan: Plan, group: ProcessGroup) -> None:
    """Leaves this rank its part of every weight of `model` that the plan divides, and layers that add parts up.

    DeepSpeed's AutoTP does it, before there is an engine: so it works on one stage of a pipeline, on weights that
    still lie in their file, and masters can start at what was given. Parameters stay the same objects.
    """
    if plan.layout.tensor == 1:
        return
    set_autotp_mode(training=True)
    partition = AutoTPConfig.from_dict(autotp_config(plan.sources.architecture, plan.layout.tensor))
    division = AutoTP(
        module=model,
        all_reduce_linears=(),
        prefix="",
        state_dict=None,
        linear_layer_setting=(nn.Linear, nn.Embedding),
        orig_layer_impl=None,
        partition_config=partition,
        model_config=model.config,
        training_mode=True,
    )
    division.mp_size, division.mp_group = plan.layout.tensor, group.adjacent_ranks(plan.layout.tensor)
    division.update_linear_policies()
    division._replace_module(model)
    division.register_replicated_grad_hooks(model)
    _expect_divided(model, plan)


def _expect_divided(model: nn.Module, plan: Plan) -> None:
    """Fails where DeepSpeed divides other weights than the plan says: peers would add up what is not theirs."""
    divided = {name for name, weight in model.named_parameters() if is_sharded(weight)}
    expected = {name for name, _ in model.named_parameters() if _dimension(plan, name) is not None}
    assert divided == expected, f"DeepSpeed divides other weights than the plan: {sorted(divided ^ expected)}"


def is_sharded(weight: nn.Parameter) -> bool:
    """Whether peers hold parts of `weight`: DeepSpeed marks these."""
    return bool(getattr(weight, "tensor_model_parallel", False))


def topology(layout: Layout) -> PipeModelDataParallelTopology:
    """The processes of `layout` in DeepSpeed's words: its order of ranks is ours."""
    return PipeModelDataParallelTopology(num_pp=layout.pipeline, num_mp=layout.tensor, num_dp=layout.data_parallel)


def grid(layout: Layout) -> PipelineParallelGrid | None:
    """Who is whose peer; None where nobody has peers, or a pipeline knows. A collective."""
    if layout.tensor == 1 or layout.pipeline > 1:
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its topology
        return PipelineParallelGrid(topology(layout))


def gather(weights: dict[str, Tensor], plan: Plan, group: ProcessGroup) -> dict[str, Tensor]:
    """Whole weights for those that peers hold parts of, on the CPU of the first peer. A collective of the peers.

    DeepSpeed's own way (GatherReplacedLayerParams) gives a weight other memory, and in bf16 it learns no more.
    """
    peers = group.adjacent_ranks(plan.layout.tensor)
    if peers is None:
        return weights
    joined = {}
    for name, weight in weights.items():
        dim = _dimension(plan, name)
        parts = [weight.detach()] if dim is None else _parts(weight.detach(), peers)
        if peers.rank() == 0:
            joined[name] = parts[0].cpu() if dim is None else torch.cat([part.cpu() for part in parts], dim)
    return joined


def _parts(weight: Tensor, peers: distributed.ProcessGroup) -> list[Tensor]:
    """What every peer holds of a weight, in their order."""
    parts = [torch.empty_like(weight, memory_format=torch.contiguous_format) for _ in range(peers.size())]
    distributed.all_gather(parts, weight.contiguous(), group=peers)
    return parts


def release() -> None:
    """Ends DeepSpeed's memory of who is whose peer: the next engine of this process may be laid out otherwise."""
    groups._release_process_group_references()


def _dimension(plan: Plan, name: str) -> int | None:
    return shard_dimension(plan.sources.architecture, name)
