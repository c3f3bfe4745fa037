"""Tools of the measures of benchmarks/gpu.sh: plans, devices, times, the rate of matrix products."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

GIB = 2**30


def matmul_tflops() -> float:
    """What products of large bf16 matrices reach now: GPUs slow down as they grow warm."""
    import torch

    device = this_device()
    size, times = (8192, 20) if device.type == "cuda" else (256, 2)
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = milliseconds(lambda: torch.mm(left, right), times) / 1e3
    return 2 * size**3 / seconds / 1e12


def plan_of(overrides: list[str]) -> Any:
    """The plan, for the processes that were started; torch's environment is set as a run sets it."""
    from tunefleet.doors import compose
    from tunefleet.doors.rank import prepare_environment
    from tunefleet.plan import Machine, make

    single_rank()
    folder = tempfile.mkdtemp(prefix="gpu-lines-")
    config = compose.from_overrides([*overrides, f"output_dir={folder}", "tracking=files", "plan.force=true"])
    plan = make(config, Machine.this())
    prepare_environment(plan)
    return plan


def single_rank() -> None:
    """This process is the only rank, unless a line has started several."""
    defaults = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29431"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def this_device() -> Any:
    """The GPU of this process, or its CPU."""
    import torch

    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def wait() -> None:
    """Until the GPU has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(act: Callable[[], object], times: int = 5) -> float:
    """The mean of `times` after two that warm up."""
    for _ in range(2):
        act()
    wait()
    began = time.perf_counter()
    for _ in range(times):
        act()
    wait()
    return (time.perf_counter() - began) / times * 1e3


def used_gib() -> float | None:
    """What the driver says is taken of the GPU, by torch, CUDA and NCCL together."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return (total - free) / GIB


def version_of(package: str) -> str:
    """Of what is installed; empty where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def line_of(command: list[str], number: int) -> str:
    """A line of what a program prints; empty where there is none."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.splitlines()[number].strip()
    except (OSError, IndexError, subprocess.SubprocessError):
        return ""
