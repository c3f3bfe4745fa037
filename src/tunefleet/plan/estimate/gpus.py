"""GPUs, hosts and clusters by name, as they are typed, such as 2x8xA100-40G: what they hold and compute."""

from __future__ import annotations

import difflib
import os
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
from tunefleet.plan.estimate.known_gpus import GPUS, Gpu, like, slice_of
from tunefleet.plan.processes.machine import Machine

THIS_MACHINE = "this"
_CORES = 8  # of a host for each GPU: an assumption


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
    own_cores: int | None = None  # of each host; None is unknown

    @property
    def device_memory(self) -> float | None:
        """GiB of one GPU."""
        return self.gpu.memory if self.gpu else None

    @property
    def cores(self) -> int:
        """CPU cores of each host; 8 for each GPU where it is unknown, as hosts of eight usually have."""
        return self.own_cores or _CORES * max(1, self.gpus)

    def machine(self, cores: int = _CORES) -> Machine:
        """The machine that a plan is made for."""
        if self.hosts == 1:
            return Machine(gpus=self.gpus, cores=cores * max(1, self.gpus))
        processes = max(1, self.gpus)
        cores *= processes
        return Machine(self.gpus, cores, world_size=self.hosts * processes, processes_here=processes)


_SYNTAX = re.compile(r"(?:(?P<hosts>\d+)x)?(?P<gpus>\d+)x(?P<kind>[A-Za-z][\w-]*)")
_OPTIONAL = ("mfu", "capability", "reached")  # of a GPU of the user's own


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
    short = [name for name in GPUS if name.rsplit("-", 1)[0].lower() == kind.lower()]
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
    missing = [field.name for field in fields(Gpu) if field.name not in (*measures, *_OPTIONAL)]
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
    return Cluster(THIS_MACHINE, gpus=machine.gpus, gpu=gpu, host_memory=memory, own_cores=machine.cores)


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
    """What nvidia-smi says of the first GPU that processes here see; its speed where we know the name."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    try:
        return _mig(visible) if visible.startswith("MIG-") else _numbered(visible)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _numbered(visible: str) -> Gpu:
    """The GPU of a number or a UUID; the first one where `visible` is empty."""
    only = ("-i", visible) if visible else ()
    line = _nvidia_smi(*only, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")[0]
    name, memory = line.rsplit(",", 1)
    return like(name, float(memory) / 1024)


def _mig(uuid: str) -> Gpu | None:
    """The slice of that UUID: `nvidia-smi -L` lists each below its GPU."""
    lines = _nvidia_smi("-L")
    number = next((number for number, line in enumerate(lines) if uuid in line), len(lines))
    index = [line for line in lines[:number] if line.startswith("GPU ")][-1].split()[1].rstrip(":")
    return slice_of(_numbered(index), lines[number])


def _nvidia_smi(*arguments: str) -> list[str]:
    shown = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=10, check=True)
    return shown.stdout.splitlines()
