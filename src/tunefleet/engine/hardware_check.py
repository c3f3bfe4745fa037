"""Hardware check: every rank looks, before the first step, whether what was planned is there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import torch
from deepspeed.accelerator import get_accelerator

from tunefleet.base.errors import RunError
from tunefleet.base.units import GIB
from tunefleet.config.parallel import Place
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.gpus import host_memory
from tunefleet.plan.plan import Plan

_CLOSEST = 0.99  # of a memory: a forecast is not closer than that


@dataclass(frozen=True)
class Hardware:
    """What this process has: GPUs that torch sees, the memory of its own in GiB, and versions, for a message."""

    host: str
    gpus: int = 0
    gpu_name: str = ""
    gpu_memory: float | None = None
    bf16: bool = True
    fp16: bool = True
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
    hardware = hardware_of(index)
    if complaints := misfits(plan, hardware, environment):
        raise RunError(*complaints)
    if plan.layout.device == "cuda" and index is not None:
        take_device(environment, index)
    if environment.get("RANK", "0") == "0":
        for note in slower(plan, hardware):
            print(f"note: {note}")


def take_device(environment: MutableMapping[str, str], index: int) -> None:
    """From now on this process is number `index` of its host, for DeepSpeed, which compares both variables."""
    names = {"LOCAL_RANK", *({"OMPI_COMM_WORLD_LOCAL_RANK"} & environment.keys())}
    environment.update(dict.fromkeys(names, str(index)))


def device_index(local_rank: int, gpus: int) -> int | None:
    """The GPU of the process `local_rank` of this host: its own number, or the only one that it sees; None is none.

    srun with --gpus-per-task shows each process one GPU, whose number is 0.
    """
    if local_rank < gpus:
        return local_rank
    return 0 if gpus == 1 else None


def misfits(plan: Plan, hardware: Hardware, environment: Mapping[str, str]) -> list[str]:
    """A complaint for everything without which the plan must not be executed."""
    return [
        *_processes(plan, hardware, environment),
        *(_gpus(plan, hardware, environment) if plan.layout.device == "cuda" else _memory(plan, hardware)),
        *_drive(plan, hardware),
    ]


def slower(plan: Plan, hardware: Hardware) -> list[str]:
    """Notes on what does not change the result, and costs time."""
    if plan.threads <= hardware.cores:
        return []
    cores = f"{hardware.host} gives it {hardware.cores} cores"
    return [f"each process was planned with {plan.threads} CPU threads, and {cores}."]


def _processes(plan: Plan, hardware: Hardware, environment: Mapping[str, str]) -> list[str]:
    world = environment.get("WORLD_SIZE", str(plan.layout.world_size))
    if int(world) == plan.layout.world_size:
        return []
    return [
        f"{hardware.host}: {world} processes were started and {plan.layout.world_size} are planned. "
        f"Start {plan.layout.world_size}, or plan the run again with its command."
    ]


def _gpus(plan: Plan, hardware: Hardware, environment: Mapping[str, str]) -> list[str]:
    local = int(environment.get("LOCAL_RANK", 0))
    if device_index(local, hardware.gpus) is None:
        return [_without_device(local, hardware, environment)]
    return [*_all_to_all(plan, hardware), *_gpu_memory(plan, hardware), *_dtype(plan, hardware)]


def _all_to_all(plan: Plan, hardware: Hardware) -> list[str]:
    """DeepSpeed makes the groups in which ZeRO++ sums gradients of as many ranks as a process sees GPUs."""
    if not plan.config.parallel.quantized_gradients or hardware.gpus == plan.layout.processes_here:
        return []
    return [
        f"{hardware.host}: {plan.config.parallel.name} needs every process to see the GPUs of all "
        f"{plan.layout.processes_here} processes of its machine, and this one sees {hardware.gpus}. "
        "Leave --gpus-per-task and --gpu-bind out, or use parallel.quantized_gradients=false."
    ]


def _dtype(plan: Plan, hardware: Hardware) -> list[str]:
    precision = plan.config.train.precision
    if precision is Precision.BF16 and not hardware.bf16:
        return [
            f"{hardware.host}: bf16 is planned and {hardware.gpu_name} does not compute with it. "
            f"Use {'train.precision=fp16, ' * hardware.fp16}train.precision=fp32, or another GPU."
        ]
    if precision is Precision.FP16 and not hardware.fp16 and plan.config.parallel.zero_stage:
        return [
            f"{hardware.host}: fp16 is planned and DeepSpeed has none for {hardware.gpu_name}. "
            "Use train.precision=fp32, parallel=ddp, or another GPU."
        ]
    return []


def _without_device(local: int, hardware: Hardware, environment: Mapping[str, str]) -> str:
    visible = f"torch sees {hardware.gpus or 'none'}" + (
        f", and this process is number {local} of its host: LOCAL_RANK={local}" if hardware.gpus else ""
    )
    return (
        f"{hardware.host}: the run is planned for GPUs, and {visible}. Driver {hardware.driver}, "
        f"CUDA_VISIBLE_DEVICES={environment.get('CUDA_VISIBLE_DEVICES', '(not set)')}, torch {torch.__version__} for "
        f"CUDA {hardware.torch_cuda}. Run nvidia-smi there, ask for as many GPUs as processes, or plan the run again "
        "where there are none."
    )


def _gpu_memory(plan: Plan, hardware: Hardware) -> list[str]:
    if hardware.gpu_memory is None:
        return []
    return _too_small(
        plan, plan.expected.peak if plan.expected else 0.0, f"its {hardware.gpu_name}", hardware.gpu_memory, hardware
    )


def _memory(plan: Plan, hardware: Hardware) -> list[str]:
    """Without GPUs all processes of a host have its memory together."""
    if hardware.host_memory is None:
        return []
    need = plan.expected.peak * plan.layout.processes_here if plan.expected else 0.0
    return _too_small(plan, need, "the host", hardware.host_memory, hardware)


def _too_small(plan: Plan, need: float, owner: str, has: float, hardware: Hardware) -> list[str]:
    if plan.config.plan.force or need * _CLOSEST <= has:
        return []
    return [
        f"{hardware.host}: the run needs {need:.1f} GiB and {owner} has {has:.1f}. `tunefleet plan` says what fits; "
        "plan.force=true tries it."
    ]


def _drive(plan: Plan, hardware: Hardware) -> list[str]:
    parallel = plan.config.parallel
    if Place.NVME not in (parallel.offload_optimizer, parallel.offload_parameters):
        return []
    folder = Path(str(parallel.nvme_path))
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return []
    return [
        f"{hardware.host}: parallel.nvme_path: {folder} cannot be written there. "
        "Give a folder on a local drive of every machine: parallel.nvme_path=/scratch."
    ]


def hardware_of(index: int | None) -> Hardware:
    """What this process has, with GPU `index` where there is one."""
    host, cores = socket.gethostname(), len(os.sched_getaffinity(0))
    base = Hardware(
        host=host,
        gpus=torch.cuda.device_count(),
        driver=_driver(),
        torch_cuda=torch.version.cuda or Hardware.torch_cuda,
        host_memory=host_memory(),
        cores=cores,
    )
    if index is None:
        return base
    gpu = torch.cuda.get_device_properties(index)
    with torch.cuda.device(index):
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        fp16 = get_accelerator().is_fp16_supported()
    measured = {"gpu_name": gpu.name, "gpu_memory": gpu.total_memory / GIB, "bf16": bf16, "fp16": fp16}
    return Hardware(**{**vars(base), **measured})


def _driver(version: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The version of NVIDIA's kernel module, which is there whatever torch sees."""
    try:
        parts = version.read_text(encoding="utf-8", errors="replace").splitlines()[0].split()
    except (OSError, IndexError):
        return "none"
    return next((part for part in parts if part[:1].isdigit() and "." in part), "unknown")
