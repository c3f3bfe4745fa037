"""Is the hardware there that was planned? Asked in every rank, before the first step."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tunefleet.base.errors import RunError
from tunefleet.base.units import GIB
from tunefleet.config.parallel import Place
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.gpus import host_memory
from tunefleet.plan.plan import Plan

_SHARE = 0.99  # of a memory: a forecast is not closer than that


@dataclass(frozen=True)
class Present:
    """What this process finds: GPUs that torch sees, the memory of its own in GiB, and versions, for a message."""

    host: str
    gpus: int = 0
    gpu_name: str = ""
    gpu_memory: float | None = None
    bf16: bool = True
    driver: str = "none"
    torch_cuda: str = "none: a build for CPUs"
    host_memory: float | None = None
    cores: int = 1


def expect_planned(plan: Plan) -> None:
    """Takes this rank's device, and sets LOCAL_RANK to it: DeepSpeed reads it too.

    Raises `RunError` with everything that is not as planned; says what is only slower.
    """
    environment = os.environ
    index = device_index(int(environment.get("LOCAL_RANK", 0)), torch.cuda.device_count())
    present = _present(index)
    if complaints := misfits(plan, present, environment):
        raise RunError(*complaints)
    if plan.layout.device == "cuda" and index is not None:
        environment["LOCAL_RANK"] = str(index)
    if environment.get("RANK", "0") == "0":
        for note in slower(plan, present):
            print(f"note: {note}")


def device_index(local_rank: int, gpus: int) -> int | None:
    """The GPU of the process `local_rank` of this host: its own number, or the only one that it sees; None is none.

    srun with --gpus-per-task shows each process one GPU, whose number is 0.
    """
    if local_rank < gpus:
        return local_rank
    return 0 if gpus == 1 else None


def misfits(plan: Plan, present: Present, environment: Mapping[str, str]) -> list[str]:
    """A complaint for everything without which the plan must not be executed."""
    return [
        *_processes(plan, present, environment),
        *(_gpus(plan, present, environment) if plan.layout.device == "cuda" else _memory(plan, present)),
        *_drive(plan, present),
    ]


def slower(plan: Plan, present: Present) -> list[str]:
    """What does not change the result, and costs time."""
    if plan.threads <= present.cores:
        return []
    return [
        f"each process was planned with {plan.threads} CPU threads, and {present.host} gives it {present.cores} cores."
    ]


def _processes(plan: Plan, present: Present, environment: Mapping[str, str]) -> list[str]:
    world = environment.get("WORLD_SIZE", str(plan.layout.world_size))
    if int(world) == plan.layout.world_size:
        return []
    return [
        f"{present.host}: {world} processes were started and {plan.layout.world_size} are planned. "
        f"Start {plan.layout.world_size}, or plan the run again with its command."
    ]


def _gpus(plan: Plan, present: Present, environment: Mapping[str, str]) -> list[str]:
    local = int(environment.get("LOCAL_RANK", 0))
    if device_index(local, present.gpus) is None:
        return [_without_device(local, present, environment)]
    found = _gpu_memory(plan, present)
    if plan.config.train.precision is Precision.BF16 and not present.bf16:
        found.append(
            f"{present.host}: bf16 is planned and {present.gpu_name} does not compute with it. "
            "Use train.precision=fp16, train.precision=fp32, or another GPU."
        )
    return found


def _without_device(local: int, present: Present, environment: Mapping[str, str]) -> str:
    seen = f"torch sees {present.gpus or 'none'}" + (
        f", and this process is number {local} of its host: LOCAL_RANK={local}" if present.gpus else ""
    )
    return (
        f"{present.host}: the run is planned for GPUs, and {seen}. Driver {present.driver}, "
        f"CUDA_VISIBLE_DEVICES={environment.get('CUDA_VISIBLE_DEVICES', '(not set)')}, torch {torch.__version__} for "
        f"CUDA {present.torch_cuda}. Run nvidia-smi there, ask for as many GPUs as processes, or plan the run again "
        "where there are none."
    )


def _gpu_memory(plan: Plan, present: Present) -> list[str]:
    if present.gpu_memory is None:
        return []
    return _too_small(
        plan, plan.expected.peak if plan.expected else 0.0, f"its {present.gpu_name}", present.gpu_memory, present
    )


def _memory(plan: Plan, present: Present) -> list[str]:
    """Without GPUs all processes of a host share its memory."""
    if present.host_memory is None:
        return []
    need = plan.expected.peak * plan.layout.processes_here if plan.expected else 0.0
    return _too_small(plan, need, "the host", present.host_memory, present)


def _too_small(plan: Plan, need: float, what: str, has: float, present: Present) -> list[str]:
    if plan.config.plan.force or need * _SHARE <= has:
        return []
    return [
        f"{present.host}: the run needs {need:.1f} GiB and {what} has {has:.1f}. `tunefleet plan` says what fits; "
        "plan.force=true tries it."
    ]


def _drive(plan: Plan, present: Present) -> list[str]:
    parallel = plan.config.parallel
    if Place.NVME not in (parallel.offload_optimizer, parallel.offload_parameters):
        return []
    folder = Path(str(parallel.nvme_path))
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        return []
    return [
        f"{present.host}: parallel.nvme_path: {folder} cannot be written there. "
        "Give a folder on a local drive of every machine: parallel.nvme_path=/scratch."
    ]


def _present(index: int | None) -> Present:
    host, cores = socket.gethostname(), len(os.sched_getaffinity(0))
    base = Present(
        host=host,
        gpus=torch.cuda.device_count(),
        driver=_driver(),
        torch_cuda=torch.version.cuda or Present.torch_cuda,
        host_memory=host_memory(),
        cores=cores,
    )
    if index is None:
        return base
    found = torch.cuda.get_device_properties(index)
    with torch.cuda.device(index):
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Present(**{**vars(base), "gpu_name": found.name, "gpu_memory": found.total_memory / GIB, "bf16": bf16})


def _driver(told: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The version of NVIDIA's kernel module, which is there whatever torch sees."""
    try:
        words = told.read_text(encoding="utf-8", errors="replace").splitlines()[0].split()
    except (OSError, IndexError):
        return "none"
    return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")
