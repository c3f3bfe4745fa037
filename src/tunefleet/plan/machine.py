"""What this machine has: GPUs, cores, and ranks that somebody else has started already."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """The processes that a run can have. `world_size` is set where a launcher has started ranks already."""

    gpus: int = 0
    cores: int = 1
    world_size: int | None = None
    rank: int = 0
    processes_here: int | None = None

    @staticmethod
    def this(environment: Mapping[str, str] = os.environ) -> Machine:
        """This machine, without asking torch."""
        started = ranks_started(environment)
        return Machine(
            gpus=_gpus(environment),
            cores=len(os.sched_getaffinity(0)),
            world_size=started[1] if started else None,
            rank=started[0] if started else 0,
            processes_here=int(environment.get("LOCAL_WORLD_SIZE", started[1])) if started else None,
        )


def ranks_started(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """(rank, world size) under torchrun, `deepspeed` or srun with several tasks; None where we start them."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return int(environment["RANK"]), int(environment["WORLD_SIZE"])
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1 and "SLURM_PROCID" in environment:
        return int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"])
    return None


def _gpus(environment: Mapping[str, str]) -> int:
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len([node for node in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", node.name)])
