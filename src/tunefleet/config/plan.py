"""Group `plan`: the machine that the plan is made for, and whether it may refuse."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlanConfig:
    """The forecast of memory and time."""

    machine: str | None = None
    """Where the run will be: `8xH100-80G`, `2x8xA100-40G` (hosts x GPUs), `this`, or a YAML file (docs/planner.md).
    null is this machine, and unknown for a SLURM job."""
    force: bool = False
    """Start a run although the forecast says that it does not fit."""
