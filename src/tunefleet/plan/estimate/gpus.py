"""GPUs, hosts and clusters by name, as they are typed, such as 2x8xA100-40G: what they hold and compute."""

from __future__ import annotations

import difflib
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tunefleet.base.errors import ConfigError
from tunefleet.base.units import GIB
from tunefleet.plan.processes.machine import Machine

THIS_MACHINE = "this"


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU. `mfu` is the share of `tflops` that training reaches without communication: an assumption."""

    memory: float
    """GiB that torch can use, as its out-of-memory message says it (`total capacity`)."""
    tflops: float
    """Dense 16-bit TFLOP/s with fp32 accumulation; 0 is unknown."""
    link: float
    """GB/s in one direction to the other GPUs of the host: NVLink, or PCIe where there is none."""
    network: float
    """GB/s in one direction and for each GPU to other hosts: an assumption on usual hosts."""
    host: float
    """GiB of host memory for each GPU: an assumption on usual hosts."""
    mfu: float = 0.4
    capability: float = 8.0
    """CUDA compute capability, at least: below 8.0 torch emulates bf16, slowly."""

    @property
    def bf16(self) -> bool:
        """Whether it multiplies bf16 itself."""
        return self.capability >= 8.0


GPUS: dict[str, Gpu] = {
    "B200-180G": Gpu(178.3, 2250, 900, 50, 256, 0.35),
    "H200-141G": Gpu(139.8, 989, 450, 50, 256),
    "H100-80G": Gpu(79.1, 989, 450, 50, 256),
    "A100-80G": Gpu(79.1, 312, 300, 25, 256, 0.45),
    "A100-40G": Gpu(39.4, 312, 300, 25, 128, 0.45),
    "L40S-48G": Gpu(44.4, 362, 32, 3, 128),
    "A6000-48G": Gpu(47.4, 155, 32, 3, 128),
    "V100-32G": Gpu(31.7, 125, 150, 6, 64, 0.35, capability=7.0),
    "V100-16G": Gpu(15.8, 125, 150, 6, 64, 0.35, capability=7.0),
    "A10G-24G": Gpu(22.1, 70, 16, 3, 48),
    "L4-24G": Gpu(22.0, 121, 16, 3, 48),
    "T4-16G": Gpu(14.6, 65, 8, 1.5, 48, 0.3, capability=7.5),
    "RTX4090-24G": Gpu(23.6, 165, 32, 1.25, 64),
    "RTX3090-24G": Gpu(23.7, 71, 32, 1.25, 64),
}
"""NVIDIA's data sheets (dense peak: without sparsity; NVLink: half of what is said for both directions)."""


@dataclass(frozen=True)
class Cluster:
    """`hosts` machines with `gpus` devices each; without GPUs a host is all that there is.

    `gpu` is None for CPUs, and where the kind of GPU is unknown. Memory in GiB; None is unknown.
    """

    name: str
    hosts: int = 1
    gpus: int = 0
    gpu: Gpu | None = None
    host_memory: float | None = None
    tflops: float = 0.0  # of a CPU: unknown

    @property
    def device_memory(self) -> float | None:
        """GiB of one GPU."""
        return self.gpu.memory if self.gpu else None

    def machine(self, cores: int = 8) -> Machine:
        """The machine that a plan is made for."""
        if self.hosts == 1:
            return Machine(gpus=self.gpus, cores=cores * max(1, self.gpus))
        processes = max(1, self.gpus)
        cores *= processes
        return Machine(self.gpus, cores, world_size=self.hosts * processes, processes_here=processes)


_SYNTAX = re.compile(r"(?:(?P<hosts>\d+)x)?(?P<gpus>\d+)x(?P<kind>[A-Za-z][\w-]*)")


def cluster(name: str) -> Cluster:
    """`8xH100-80G`, `2x8xA100-40G` (hosts x GPUs), `this`, or a YAML file. Raises `ConfigError` for anything else."""
    if name == THIS_MACHINE:
        return this_machine()
    if name.endswith((".yaml", ".yml")):
        return _from_file(Path(name))
    match = _SYNTAX.fullmatch(name)
    if not match:
        raise ConfigError(
            f"plan.machine: {name!r} is not a machine. Allowed: 8xH100-80G, 2x8xA100-40G (hosts x GPUs), this, "
            "or a YAML file with hosts, gpus and what a GPU has (docs/planner.md)."
        )
    hosts, gpus, kind = int(match["hosts"] or 1), int(match["gpus"]), match["kind"]
    if not hosts or not gpus:
        raise ConfigError(f"plan.machine: {name} has no GPUs. Leave it out for this machine's CPU.")
    gpu = _named(kind)
    return Cluster(name, hosts, gpus, gpu, gpu.host * gpus)


def _named(kind: str) -> Gpu:
    """The GPU of a name, with or without its memory where that is clear."""
    names = {name.lower(): name for name in GPUS}
    short = [name for name in GPUS if name.split("-")[0].lower() == kind.lower()]
    name = names.get(kind.lower()) or (short[0] if len(short) == 1 else None)
    if name:
        return GPUS[name]
    similar = short or difflib.get_close_matches(kind.upper(), GPUS, n=2) or list(GPUS)
    raise ConfigError(
        f"plan.machine: no GPU is called {kind}. Known: {', '.join(similar)}. "
        "Another one is described in a YAML file (docs/planner.md)."
    )


def _from_file(path: Path) -> Cluster:
    """A machine of the user's own: `hosts`, `gpus`, `gpu` (a known name) or its numbers, `host_memory`."""
    values = _read(path)
    keys = {"hosts", "gpus", "gpu", "host_memory"} | {field.name for field in fields(Gpu)}
    numbers = {key: value for key, value in values.items() if key != "gpu"}
    bad = sorted(key for key in values if key not in keys)
    wrong = sorted(key for key, value in numbers.items() if not isinstance(value, (int, float)) or not value > 0)
    complaints = [f"{path}: unknown key {key}. Known: {', '.join(sorted(keys))}." for key in bad]
    complaints += [f"{path}: {key} must be a number above 0, not {values[key]!r}." for key in wrong if key not in bad]
    if complaints:
        raise ConfigError(*complaints)
    measures = {field.name: float(values[field.name]) for field in fields(Gpu) if field.name in values}
    gpu = _own_gpu(path, values, measures)
    hosts, gpus = int(values.get("hosts", 1)), int(values.get("gpus", 1))
    return Cluster(path.stem, hosts, gpus, gpu, float(values.get("host_memory", gpu.host * gpus)))


def _own_gpu(path: Path, values: Mapping[str, Any], measures: dict[str, float]) -> Gpu:
    if "gpu" in values:
        return replace(_named(str(values["gpu"])), **measures)
    missing = [field.name for field in fields(Gpu) if field.name not in (*measures, "mfu", "capability")]
    if missing:
        raise ConfigError(f"{path}: lacks {', '.join(missing)}. Give them, or gpu: with a known name.")
    return Gpu(**measures)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"plan.machine: {path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"plan.machine: {path} is no YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"plan.machine: {path} must hold keys and values, such as gpus: 8.")
    return values


def this_machine(machine: Machine | None = None) -> Cluster:
    """This machine: GPUs as nvidia-smi names them, memory as /proc says. Without asking torch."""
    machine = machine or Machine.this()
    memory = host_memory()
    if not machine.gpus:
        return Cluster(THIS_MACHINE, host_memory=memory)
    gpu = installed()
    return Cluster(THIS_MACHINE, gpus=machine.gpus, gpu=gpu, host_memory=memory)


def host_memory() -> float | None:
    """GiB of this host; of its control group where that has less. None where neither says it."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    total = re.search(r"MemTotal:\s+(\d+) kB", text)
    limits = [int(total[1]) / 2**20] if total else []
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with_limit = Path(name).read_text().strip() if Path(name).exists() else ""
        limits += [int(with_limit) / GIB] if with_limit.isdigit() else []
    return min(limits, default=None)


@cache
def installed() -> Gpu | None:
    """What nvidia-smi says of the first GPU; its speed where we know the name."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        line = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()[0]
        name, memory = line.rsplit(",", 1)
        return _like(name, float(memory) / 1024)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _like(name: str, memory: float) -> Gpu:
    """The known GPU of that name and about that memory, else one of unknown speed. torch has about 1 % less."""
    plain = name.replace(" ", "").upper()
    similar = [gpu for kind, gpu in GPUS.items() if kind.split("-")[0] in plain and abs(gpu.memory - memory) < 6]
    gpu = similar[0] if similar else Gpu(memory, 0, 16, 1.25, 64)
    return replace(gpu, memory=min(gpu.memory, memory * 0.99))
