"""Packing of a family: whether a sequence may hold several conversations, and the reason where not.

`tests/model/test_packing_families.py` measures what every file of `known/` says: loss and gradients of packed sequences
are those of the conversations one by one, or they are not.
"""

from __future__ import annotations

from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import Packing
from tunefleet.plan.families.registry import families_that


def exact_families() -> tuple[str, ...]:
    """The model_types whose packed loss equals the unpacked one."""
    return families_that(lambda family: isinstance(family.packing, Packing))


def windowed_families() -> tuple[str, ...]:
    """Those of them that may attend within a sliding window."""
    return families_that(lambda family: isinstance(family.packing, Packing) and family.packing.windowed)


def refusal(architecture: Architecture, length: int) -> str | None:
    """Why sequences of `length` tokens of several conversations would train another loss; None where they do not."""
    packing = architecture.family.packing
    if not isinstance(packing, Packing):
        return packing
    reasons = (reason for key, reason in packing.refused_with.items() if architecture.config.get(key))
    return next(reasons, None) or unused_window(architecture) or stretching(architecture, length)


def unused_window(architecture: Architecture) -> str | None:
    """Why a window in config.json refuses a family that does not attend within one; None where it does, or has none."""
    packing = architecture.family.packing
    if not architecture.config.get("sliding_window") or (isinstance(packing, Packing) and packing.windowed):
        return None
    return "its config.json has a sliding_window, which the family does not use"


def stretching(architecture: Architecture, length: int) -> str | None:
    """Why a rotary embedding changes for a whole batch with its longest conversation; None where it does not."""
    config = architecture.config
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rope_type = rope.get("rope_type") or rope.get("type")
    keys = ("original_max_position_embeddings", "max_position_embeddings")
    native = next((settings[key] for key in keys for settings in (rope, config) if settings.get(key)), 0)
    if rope_type not in ("dynamic", "longrope", "su") or length <= native:
        return None
    return (
        f"its {rope_type} rotary embedding changes for all conversations of a batch when one has over {native} tokens"
    )
