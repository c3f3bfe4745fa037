"""May the rows of this model be split over sequence-parallel ranks, and over how many?

`tests/model/test_ulysses.py` measures what every file of `known/` says: loss and gradients of split rows are those of
whole ones, or not.
"""

from __future__ import annotations

from tunefleet.config import RunConfig
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import Packing
from tunefleet.plan.families.packing import stretching, unused_window
from tunefleet.plan.families.registry import families_that


def exact_families() -> tuple[str, ...]:
    """The model_types whose loss on split rows equals that on whole ones."""
    return families_that(lambda family: isinstance(family.packing, Packing) and not family.sequence)


def complaints(config: RunConfig, architecture: Architecture, processes: int | None) -> list[str]:
    """Why `parallel.sequence` of `processes` (None is any number) cannot split the rows of this model."""
    degree, stages = config.parallel.sequence, config.parallel.pipeline
    if degree == 1:
        return []
    complaints = []
    if stages > 1:
        complaints.append(
            f"parallel.sequence: {degree} cannot be combined with parallel.pipeline={stages}. "
            "Use parallel.pipeline=1, or parallel.sequence=1."
        )
    if reason := refusal(architecture, config.train.sequence_length):
        return [
            *complaints,
            f"parallel.sequence: rows of {config.model.name} cannot be split: it is of the family "
            f"{architecture.model_type}, and {reason}. Use parallel.sequence=1.",
        ]
    return complaints + _heads(degree, architecture, processes, config.model.name)


def refusal(architecture: Architecture, length: int) -> str | None:
    """Why split rows of `length` tokens would train another loss; None where they do not."""
    family = architecture.family
    if family.sequence:
        return family.sequence
    if not isinstance(family.packing, Packing):
        return "it is not measured whether its loss on split rows is the one on whole rows"
    return unused_window(architecture) or stretching(architecture, length)


def _heads(degree: int, architecture: Architecture, processes: int | None, name: str) -> list[str]:
    heads = architecture.config.get(architecture.family.keys.heads)
    if not isinstance(heads, int):
        return [f"parallel.sequence: the config.json of {name} does not say how many heads it has."]
    if heads % degree == 0:
        return []
    legal = [number for number in range(1, heads + 1) if heads % number == 0 == (processes or 0) % number]
    lower, upper = max(n for n in legal if n < degree), min((n for n in legal if n > degree), default=None)
    nearest = f"{lower} or {upper}" if upper else f"{lower}"
    return [
        f"parallel.sequence: {degree} does not divide the {heads} attention heads of {name}. "
        f"Use parallel.sequence={nearest}."
    ]
