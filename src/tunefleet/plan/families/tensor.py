"""Tensor parallelism of a family: the weights that its ranks shard, and the reason where they cannot.

`tests/engine/test_tensor_families.py` measures every family that has a plan: losses, gradient norms and trained
weights of two tensor-parallel ranks are those of one process.
"""

from __future__ import annotations

from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import TensorParallelPlan
from tunefleet.plan.families.registry import families_that


def sharded_families() -> tuple[str, ...]:
    """The model_types whose blocks are sharded."""
    return families_that(lambda family: isinstance(family.tensor, TensorParallelPlan))


def refusal(architecture: Architecture) -> str | None:
    """Why tensor-parallel ranks would not train the model that one process trains; None where they do."""
    plan = architecture.family.tensor
    if not isinstance(plan, TensorParallelPlan):
        return plan
    return next((reason for key, reason in plan.refused_with.items() if architecture.config.get(key)), None)


def divisible(architecture: Architecture) -> dict[str, int]:
    """What the degree must divide, by a name to read: heads, key heads, and the width of the feed-forward."""
    keys, config = architecture.family.keys, architecture.config
    names = {
        "attention heads": keys.heads,
        "key heads": "num_key_value_heads",
        "feed-forward columns": keys.ffn,
    }
    return {name: config[key] for name, key in names.items() if config.get(key)}


def shard_dimension(architecture: Architecture, weight: str) -> int | None:
    """Along which dimension the weight of that name is sharded; None where every rank holds the whole of it."""
    plan = plan_of(architecture)
    module, _, kind = weight.rpartition(".")
    projection = module.rpartition(".")[2]
    if projection in plan.columns:
        return 0
    return 1 if projection in plan.rows and kind == "weight" else None


def plan_of(architecture: Architecture) -> TensorParallelPlan:
    """The projections that are sharded. Raises ValueError for a family that cannot be."""
    plan = architecture.family.tensor
    if not isinstance(plan, TensorParallelPlan):
        raise ValueError(f"the layers of model_type {architecture.model_type} cannot be sharded: {plan}")
    return plan
