"""Ranks that somebody else started: fills in what torch.distributed reads where srun leaves it out."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

from tunefleet.plan.machine import Machine

_FIRST_PORT = 20_000
_PORTS = 20_000


def complete(environment: MutableMapping[str, str], machine: Machine) -> None:
    """Sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT where they are missing.

    Every rank of a SLURM step finds the same address, its first node, and the same port, from the job's number.
    """
    job = int(environment.get("SLURM_JOB_ID", 0)) + int(environment.get("SLURM_STEP_ID", 0))
    found = {
        "RANK": str(machine.rank),
        "WORLD_SIZE": str(machine.world_size),
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1")),
        "MASTER_PORT": str(_FIRST_PORT + job % _PORTS),
    }
    for name, value in found.items():
        environment.setdefault(name, value)


def first_host(nodes: str) -> str:
    """The first node of a SLURM node list: `n[03-05,9]` begins with `n03`, `a,b` with `a`."""
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", nodes)
    return "".join(part or "" for part in match.groups()) if match else nodes
