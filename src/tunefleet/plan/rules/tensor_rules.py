"""Rules of tensor parallelism: what it cannot be combined with, and what to use instead."""

from __future__ import annotations

from math import gcd

from tunefleet.config import RunConfig
from tunefleet.plan.families import tensor
from tunefleet.plan.rules.request import Request


def with_zero_3(config: RunConfig) -> list[str]:
    """ZeRO-3 and tensor parallelism shard the same weights."""
    if config.parallel.tensor == 1 or config.parallel.zero_stage < 3:
        return []
    return [
        f"parallel: tensor({config.parallel.tensor}) with zero_stage=3 is not offered: both shard the weights. "
        "Use parallel.zero_stage=2, or parallel.tensor=1."
    ]


def with_sequence(config: RunConfig) -> list[str]:
    """Both spread the heads over ranks."""
    parallel = config.parallel
    if parallel.tensor == 1 or parallel.sequence == 1:
        return []
    return [
        f"parallel: tensor({parallel.tensor}) with sequence({parallel.sequence}) is not offered: both shard the heads. "
        "Use parallel.sequence=1, or parallel.tensor=1."
    ]


def model(request: Request) -> list[str]:
    """The degree divides the heads and the width of a model whose layers can be sharded."""
    degree, config, architecture = request.config.parallel.tensor, request.config, request.architecture
    if degree == 1 or architecture is None:
        return []
    if reason := tensor.refusal(architecture):
        return [
            f"parallel.tensor: the layers of {config.model.name} cannot be sharded: it is of the family "
            f"{architecture.model_type}, and {reason}. Use parallel.tensor=1; zero3 shards any weights."
        ]
    sizes = tensor.divisible(architecture)
    if "attention heads" not in sizes:
        return [f"parallel.tensor: the config.json of {config.model.name} does not say how many heads it has."]
    indivisible = [f"{number} {size}" for size, number in sizes.items() if number % degree]
    if not indivisible:
        return []
    common = gcd(*sizes.values(), *([request.given_processes] if request.given_processes else []))
    return [
        f"parallel.tensor: {degree} does not divide the {' and the '.join(indivisible)} of {config.model.name}. "
        f"{_nearest(common, degree)}"
    ]


def _nearest(common: int, degree: int) -> str:
    legal = [number for number in range(2, common + 1) if common % number == 0]
    if not legal:
        return "No degree does. Use parallel.tensor=1; zero3 shards any weights."
    below = [number for number in legal if number < degree][-1:]
    above = [number for number in legal if number > degree][:1]
    return f"Use parallel.tensor={' or '.join(map(str, below + above))}."
