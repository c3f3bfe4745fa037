"""Sequence parallelism of a family: whether its sequences may be split over ranks.

`tests/model/test_ulysses.py` measures what every file of `known/` says: loss and gradients of split sequences are those
of whole ones, or not.
"""

from __future__ import annotations

from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import Packing
from tunefleet.plan.families.packing import stretching, unused_window
from tunefleet.plan.families.registry import families_that


def exact_families() -> tuple[str, ...]:
    """The model_types whose loss on split sequences equals that on whole ones."""
    return families_that(lambda family: isinstance(family.packing, Packing) and not family.attention)


def refusal(architecture: Architecture, length: int) -> str | None:
    """Why split sequences of `length` tokens would train another loss; None where they do not."""
    family = architecture.family
    if family.attention:
        return family.attention
    if not isinstance(family.packing, Packing):
        return "it is not measured whether its loss on split sequences is the one on whole sequences"
    return unused_window(architecture) or stretching(architecture, length)
