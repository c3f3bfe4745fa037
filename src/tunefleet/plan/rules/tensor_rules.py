"""What can tensor parallelism not be combined with, and what to use instead?"""

from __future__ import annotations

from math import gcd

from tunefleet.config import RunConfig
from tunefleet.config.train import Precision
from tunefleet.plan.families import tensor
from tunefleet.plan.families.tensor import Architecture


def values(config: RunConfig) -> list[str]:
    """Complaints about settings alone."""
    parallel, complaints = config.parallel, []
    if parallel.tensor == 1:
        return []
    if parallel.zero_stage == 3:
        complaints.append(
            f"parallel: tensor({parallel.tensor}) with zero_stage=3 is not offered: both divide the weights. "
            "Use parallel.zero_stage=2, or parallel.tensor=1."
        )
    if parallel.sequence > 1:
        complaints.append(
            f"parallel: tensor({parallel.tensor}) with sequence({parallel.sequence}) is not offered: both divide the "
            "heads. Use parallel.sequence=1, or parallel.tensor=1."
        )
    if config.train.precision is Precision.FP16 and parallel.zero_stage == 0:
        complaints.append(
            f"train.precision: with fp16 the peers of {parallel.name} would skip different steps when a gradient "
            "overflows. Use train.precision=bf16."
        )
    return complaints


def architecture(config: RunConfig, found: Architecture, processes: int | None) -> list[str]:
    """Complaints about settings that do not go with the model. `processes` are those that are there already."""
    degree = config.parallel.tensor
    if degree == 1:
        return []
    if reason := tensor.refusal(found):
        return [
            f"parallel.tensor: the layers of {config.model.name} cannot be divided: it is of the family "
            f"{found.get('model_type')}, and {reason}. Use parallel.tensor=1; zero3 divides any weights."
        ]
    sizes = tensor.divisible(found)
    if "attention heads" not in sizes:
        return [f"parallel.tensor: the config.json of {config.model.name} does not say how many heads it has."]
    odd = [f"{number} {name}" for name, number in sizes.items() if number % degree]
    if not odd:
        return []
    return [
        f"parallel.tensor: {degree} does not divide the {' and the '.join(odd)} of {config.model.name}. "
        f"{_nearest(gcd(*sizes.values(), *([processes] if processes else [])), degree)}"
    ]


def _nearest(common: int, degree: int) -> str:
    legal = [number for number in range(2, common + 1) if common % number == 0]
    if not legal:
        return "No degree does. Use parallel.tensor=1; zero3 divides any weights."
    below = [number for number in legal if number < degree][-1:]
    above = [number for number in legal if number > degree][:1]
    return f"Use parallel.tensor={' or '.join(map(str, below + above))}."
