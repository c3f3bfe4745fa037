"""Which models may have their rows shared out over processes, and by how many?

`tests/model/test_ulysses.py` measures every entry: loss and gradients of shared rows are those of whole ones, or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.config import RunConfig
from tunefleet.plan.families import packing

_OWN = "it computes attention by code of its own, which would see one process's part of a row"
OWN_ATTENTION = {
    **dict.fromkeys(("bloom", "codegen", "falcon", "gpt_neo", "gpt_neox_japanese", "gptj", "mpt", "xglm"), _OWN),
    "gemma2": "it caps the logits of its attention, which SDPA does not",
    "gpt_oss": "it has attention sinks, which SDPA does not",
}
"""Families (`model_type`) that cannot share rows, and why."""

EXACT = tuple(family for family in packing.EXACT if family not in OWN_ATTENTION)
"""Families whose loss on shared rows equals that on whole ones."""

_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")

Architecture = Mapping[str, Any]


def complaints(config: RunConfig, architecture: Architecture, processes: int | None) -> list[str]:
    """Why `parallel.sequence` of `processes` (None is any number) cannot share the rows of this model."""
    degree, stages = config.parallel.sequence, config.parallel.pipeline
    if degree == 1:
        return []
    found = []
    if stages > 1:
        found.append(
            f"parallel.sequence: {degree} cannot be combined with parallel.pipeline={stages}. "
            "Use parallel.pipeline=1, or parallel.sequence=1."
        )
    reason = refusal(architecture, config.train.sequence_length)
    if reason:
        found.append(
            f"parallel.sequence: rows of {config.model.name} cannot be shared out: it is of the family "
            f"{architecture.get('model_type')}, and {reason}. Use parallel.sequence=1."
        )
    heads = next((architecture[key] for key in _HEADS if isinstance(architecture.get(key), int)), None)
    return found if reason or heads is None else found + _heads(degree, heads, processes, config.model.name)


def refusal(architecture: Architecture, length: int) -> str | None:
    """Why shared rows of `length` tokens would train another loss; None where they do not."""
    family = architecture.get("model_type")
    if family in OWN_ATTENTION:
        return OWN_ATTENTION[family]
    if family not in EXACT:
        return "nobody has measured that its loss on shared rows is the one on whole rows"
    if architecture.get("sliding_window") and family not in packing.WINDOWED:
        return "its config.json has a sliding_window, which the family does not use"
    return packing.stretching(architecture, length)


def _heads(degree: int, heads: int, processes: int | None, name: str) -> list[str]:
    if heads % degree == 0:
        return []
    legal = [number for number in range(1, heads + 1) if heads % number == 0 == (processes or 0) % number]
    lower, upper = max(n for n in legal if n < degree), min((n for n in legal if n > degree), default=None)
    nearest = f"{lower} or {upper}" if upper else f"{lower}"
    return [
        f"parallel.sequence: {degree} does not divide the {heads} attention heads of {name}. "
        f"Use parallel.sequence={nearest}."
    ]
