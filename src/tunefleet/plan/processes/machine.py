"""Machine: its GPUs, its cores, and the ranks that a launcher has started already."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tunefleet.plan.processes.ranks import ranks


@dataclass(frozen=True)
class Machine:
    """The processes that a run can have. `world_size` is set where `launcher` has started ranks already.

    `compiler` is whether DeepSpeed could build its C++ here, `fast_bf16` whether the CPU multiplies 16-bit numbers.
    `processes_here` and `local_rank` are None where the launcher does not say them.
    """

    gpus: int = 0
    cores: int = 1
    world_size: int | None = None
    rank: int = 0
    processes_here: int | None = None
    local_rank: int | None = None
    launcher: str = ""
    compiler: bool = False
    fast_bf16: bool = True

    @staticmethod
    def this(environment: Mapping[str, str] = os.environ) -> Machine:
        """This machine, without asking torch. Raises `ConfigError` where launchers contradict each other."""
        gpus, cores = len(devices(environment)), len(os.sched_getaffinity(0))
        compiler = shutil.which(environment.get("CXX") or "c++") is not None  # as torch.utils.cpp_extension looks
        hardware = Machine(gpus, cores, compiler=compiler, fast_bf16=_fast_bf16())
        started = ranks(environment)
        if started is None:
            return hardware
        return replace(
            hardware,
            world_size=started.world_size,
            rank=started.rank,
            processes_here=1 if started.world_size == 1 else started.processes_here,
            local_rank=started.local_rank,
            launcher=started.by,
        )


def _fast_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has what oneDNN needs for products in bf16; without it torch has slow loops of its own."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())
    return flags >= {"avx512bw", "avx512vl", "avx512dq"} or "bf16" in flags


def devices(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that a process here sees, as CUDA_VISIBLE_DEVICES names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1"))
    nodes = [node for node in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", node.name)]
    return tuple(str(number) for number in range(len(nodes)))
