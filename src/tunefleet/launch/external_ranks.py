"""External ranks, which another launcher started: fills in what torch.distributed reads and they lack."""

from __future__ import annotations

import re
import zlib
from collections.abc import MutableMapping

from tunefleet.base.errors import ConfigError
from tunefleet.plan.processes.machine import Machine

_FIRST_PORT = 20_000
_PORTS = 12_768  # up to those that Linux gives to outgoing connections
_JOBS = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID")  # what mpirun calls one start, for all its ranks


def complete(environment: MutableMapping[str, str], machine: Machine, port: int | None = None) -> None:
    """Sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT where they are missing.

    Every rank finds the same address and the same port by itself. Raises `ConfigError` where it cannot know them.
    """
    values = {
        "RANK": str(machine.rank),
        "WORLD_SIZE": str(machine.world_size),
        "LOCAL_RANK": environment.get("LOCAL_RANK") or str(_local_rank(machine)),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or _address(environment, machine),
        "MASTER_PORT": str(port or _port(environment)),
    }
    for name, value in values.items():
        environment.setdefault(name, value)


def first_host(nodes: str) -> str:
    """The first node of a SLURM node list: `n[03-05,9]` begins with `n03`, `a,b` with `a`."""
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", nodes)
    return "".join(part or "" for part in match.groups()) if match else nodes


def _local_rank(machine: Machine) -> int:
    if machine.local_rank is None and machine.gpus > 1 and machine.world_size != 1:
        raise ConfigError(
            f"LOCAL_RANK: not set, and this machine has {machine.gpus} GPUs: it is unknown which of them this process "
            "has. Set LOCAL_RANK, or CUDA_VISIBLE_DEVICES to one GPU for each process."
        )
    return machine.local_rank or 0


def _address(environment: MutableMapping[str, str], machine: Machine) -> str:
    """Where rank 0 is: the first node of the step, or this machine if all ranks are on it."""
    if machine.processes_here == machine.world_size:
        return "127.0.0.1"
    if machine.launcher == "srun":
        return first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1"))
    count = f"{machine.processes_here} of them" if machine.processes_here else "an unknown number of them"
    raise ConfigError(
        f"MASTER_ADDR: not set, and of {machine.world_size} processes {count} are on this machine. "
        "Set MASTER_ADDR to the host of rank 0, the same for all (127.0.0.1 if they are all here)."
    )


def _port(environment: MutableMapping[str, str]) -> int:
    """A port from the number of the job, so that two jobs on a host have two."""
    if "SLURM_JOB_ID" in environment:
        job = int(environment["SLURM_JOB_ID"]) + int(environment.get("SLURM_STEP_ID", 0))
    else:
        job = zlib.crc32(next((environment[name] for name in _JOBS if name in environment), "").encode())
    return _FIRST_PORT + job % _PORTS
