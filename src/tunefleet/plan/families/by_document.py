"""Attention by document: whether a family's conversations may attend one by one, without a mask of length x length.

`tests/model/test_packing_families.py` measures what every file of `known/` says: loss and gradients by document are
those with the mask, or the family's attention cannot be replaced.
"""

from __future__ import annotations

from tunefleet.config.model import Attention
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import Packing
from tunefleet.plan.families.packing import unused_window
from tunefleet.plan.families.registry import families_that

ON_GPU = "on a GPU model.attention=document has to ask for what is not measured there"


def exact_families() -> tuple[str, ...]:
    """The model_types whose loss by document equals that with a mask."""
    return families_that(lambda family: isinstance(family.packing, Packing) and not family.attention)


def refusal(architecture: Architecture) -> str | None:
    """Why conversations of this model need a mask; None where they may attend one by one."""
    family = architecture.family
    if family.attention:
        return family.attention
    if not isinstance(family.packing, Packing):
        return "it is not measured whether its loss by document is the one with a mask"
    return unused_window(architecture)


def applies(setting: Attention, architecture: Architecture, on_gpu: bool) -> bool:
    """Whether they attend one by one under `model.attention`; on a GPU where that asks for it."""
    wanted = (Attention.DOCUMENT,) if on_gpu else (Attention.DOCUMENT, Attention.AUTO)
    return setting in wanted and refusal(architecture) is None


def without_mask(architecture: Architecture, length: int) -> bool:
    """Whether no micro-batch of sequences of `length` tokens needs a mask, where conversations attend one by one."""
    return (masked_beyond(architecture) or length) >= length


def masked_beyond(architecture: Architecture) -> int | None:
    """The tokens of the sliding window: micro-batches with a longer conversation have a mask. None where none has."""
    config = architecture.config
    used = config.get("use_sliding_window", True)
    return (config.get("sliding_window") or None) if used else None


def describe(setting: Attention, architecture: Architecture, on_gpu: bool) -> str:
    """How conversations attend, for the card of a run."""
    if applies(setting, architecture, on_gpu):
        window = masked_beyond(architecture)
        return "by document" + (f", with a mask where one has over {window} tokens" if window else "")
    if setting is Attention.MASK:
        return "with a mask"
    return f"with a mask: {refusal(architecture) or ON_GPU}"
