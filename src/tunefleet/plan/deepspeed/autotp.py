"""AutoTP configuration: every weight of a tensor-parallel plan by name."""

from __future__ import annotations

from typing import Any

from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.tensor import plan_of


def autotp_config(architecture: Architecture, degree: int) -> dict[str, Any]:
    """The configuration with which AutoTP guesses nothing, and leaves whole what is not named."""
    plan = plan_of(architecture)
    layers: list[dict[str, Any]] = [
        {"patterns": [_pattern(plan.columns, "weight")], "partition_type": "column"},
        {"patterns": [_pattern(plan.rows, "weight")], "partition_type": "row"},
    ]
    if plan.head_norms:
        norms = [_pattern(plan.head_norms, "(weight|bias)")]
        layers.append({"patterns": norms, "partition_type": "skip", "grad_allreduce": True})
    return {"use_default_specs": False, "layer_specs": layers, "tp_size": degree}


def _pattern(projections: tuple[str, ...], kind: str) -> str:
    return rf".*\.({'|'.join(projections)})\.{kind}$"
