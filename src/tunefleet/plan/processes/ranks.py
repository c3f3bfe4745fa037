"""Ranks that a launcher has started: what torchrun, deepspeed, mpirun and srun set, if they agree.

A launcher may have started another one: srun a torchrun on each host, which starts the ranks. So launchers are read
from the innermost on; the innermost says which rank this is, and those around it must say the same, or have started
the inner one once on every host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tunefleet.base.errors import ConfigError


@dataclass(frozen=True)
class Ranks:
    """What one launcher sets: this process is `rank` of `world_size`. None is what it does not set."""

    by: str
    rank: int
    world_size: int
    local_rank: int | None = None
    processes_here: int | None = None
    hosts: int | None = None
    names: tuple[str, str] = ("RANK", "WORLD_SIZE")

    def __str__(self) -> str:
        return f"{self.by} says rank {self.rank} of {self.world_size} ({', '.join(self.names)})"

    def is_same_process(self, ranks: Ranks) -> bool:
        """Whether both launchers give this process the same rank."""
        return (self.rank, self.world_size) == (ranks.rank, ranks.world_size)

    def may_have_started(self, inner: Ranks) -> bool:
        """Whether it can be around `inner`: it started that once on every host, or is one task alone."""
        once_on_each_host = self.processes_here == 1 and inner.hosts in (None, self.world_size)
        return once_on_each_host or self.world_size == 1


@dataclass(frozen=True)
class _Variables:
    """What one launcher sets; of `local_rank`, `processes_here` and `hosts` the first that is set counts."""

    by: str
    rank: str
    size: str
    local_rank: tuple[str, ...]
    processes_here: tuple[str, ...]
    hosts: tuple[str, ...] = ()


_TORCH = _Variables(
    "the environment",
    "RANK",
    "WORLD_SIZE",
    ("LOCAL_RANK",),
    ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"),  # torchrun, deepspeed
    ("GROUP_WORLD_SIZE", "CROSS_SIZE"),
)
_OPEN_MPI = _Variables(
    "mpirun",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    ("OMPI_COMM_WORLD_LOCAL_RANK",),
    ("OMPI_COMM_WORLD_LOCAL_SIZE",),
)
_HYDRA_MPI = _Variables(  # MPICH and Intel MPI; the second names are Cray's
    "mpirun", "PMI_RANK", "PMI_SIZE", ("MPI_LOCALRANKID", "PMI_LOCAL_RANK"), ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE")
)
_INNERMOST_FIRST = (_TORCH, _OPEN_MPI, _HYDRA_MPI)


def ranks(environment: Mapping[str, str]) -> Ranks | None:
    """What the innermost launcher sets; None where no launcher has started ranks, and we do.

    Raises `ConfigError` where launchers contradict each other, or one sets half of what it must.
    """
    launchers = _launchers(environment)
    _expect_no_half(environment, launchers)
    for inner, outer in pairwise(launchers):
        _expect_agreement(inner, outer)
    return _combine(launchers) if launchers else None


def _launchers(environment: Mapping[str, str]) -> list[Ranks]:
    """Every launcher that has started this process, from the innermost to SLURM."""
    launchers = [ranks for variables in _INNERMOST_FIRST if (ranks := _read(variables, environment))]
    step = _slurm_step(environment)
    if step is None:
        return launchers
    launchers = [ranks for ranks in launchers if not (ranks.by == "mpirun" and ranks.is_same_process(step))]  # its PMI
    if step.world_size == 1:  # an interactive shell, in which we start the ranks
        return launchers
    return [*launchers, step]


def _read(variables: _Variables, environment: Mapping[str, str]) -> Ranks | None:
    rank, size = _number(environment, variables.rank), _number(environment, variables.size)
    if rank is None or size is None:
        return None
    if not rank < size:
        raise ConfigError(
            f"{variables.rank}={rank} is no rank of {variables.size}={size}: ranks count from 0 to {size - 1}. "
            f"Set both right, or unset both: `unset {variables.rank} {variables.size}`."
        )
    return Ranks(
        _launcher(variables, environment),
        rank,
        size,
        _first(environment, variables.local_rank),
        _first(environment, variables.processes_here),
        _first(environment, variables.hosts),
        (variables.rank, variables.size),
    )


def _launcher(variables: _Variables, environment: Mapping[str, str]) -> str:
    """torchrun and deepspeed set the same variables, and one besides that tells them apart."""
    signs = {"TORCHELASTIC_RUN_ID": "torchrun", "CROSS_SIZE": "deepspeed"} if variables is _TORCH else {}
    return next((launcher for sign, launcher in signs.items() if sign in environment), variables.by)


def _slurm_step(environment: Mapping[str, str]) -> Ranks | None:
    """The step of SLURM around this process. A batch script has a SLURM_PROCID too, and is no step."""
    rank, size = _number(environment, "SLURM_PROCID"), _number(environment, "SLURM_STEP_NUM_TASKS")
    if rank is None or size is None:
        return None
    local_rank, processes_here = _number(environment, "SLURM_LOCALID"), _tasks_here(environment, size)
    return Ranks("srun", rank, size, local_rank, processes_here, names=("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))


def _tasks_here(environment: Mapping[str, str], size: int) -> int | None:
    """This node's part of SLURM_STEP_TASKS_PER_NODE, such as `4`, `2(x3)` or `4,2(x2)`."""
    if _number(environment, "SLURM_STEP_NUM_NODES") == 1:
        return size
    nodes: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", "")):
        nodes += [int(tasks)] * int(times or 1)
    node = _number(environment, "SLURM_NODEID") or 0
    return nodes[node] if node < len(nodes) else None


def _expect_no_half(environment: Mapping[str, str], launchers: Sequence[Ranks]) -> None:
    """A rank without a size, or the other way round, is a leftover, unless a whole launcher sets the same."""
    for variables in _INNERMOST_FIRST:
        rank, size = _number(environment, variables.rank), _number(environment, variables.size)
        confirmed = any(rank == ranks.rank or size == ranks.world_size for ranks in launchers)
        if (rank is None) == (size is None) or confirmed:
            continue
        present, missing = (variables.rank, variables.size) if size is None else (variables.size, variables.rank)
        raise ConfigError(
            f"{present}={environment[present]} is set and {missing} is not: half of what a launcher sets. "
            f"Set {missing} too, or let tunefleet start the processes: `unset {present}`."
        )


def _expect_agreement(inner: Ranks, outer: Ranks) -> None:
    if inner.is_same_process(outer) or outer.may_have_started(inner):
        return
    raise ConfigError(
        f"two launchers have started this process: {inner}, and {outer}. Start with one of them; or, if "
        f"{outer.by} is to start {inner.by}, let it start one on each host. If {' and '.join(inner.names)} are "
        f"left over from something else: `unset {' '.join(inner.names)}`."
    )


def _combine(launchers: Sequence[Ranks]) -> Ranks:
    """The outermost launcher that sets the innermost one's rank; what it leaves out, from the others of these."""
    agreeing = [ranks for ranks in launchers if ranks.is_same_process(launchers[0])]
    local_rank = next((ranks.local_rank for ranks in agreeing if ranks.local_rank is not None), None)
    processes_here = next((ranks.processes_here for ranks in agreeing if ranks.processes_here is not None), None)
    return replace(agreeing[-1], local_rank=local_rank, processes_here=processes_here)


def _first(environment: Mapping[str, str], names: Sequence[str]) -> int | None:
    return next((number for name in names if (number := _number(environment, name)) is not None), None)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d+", text):
        raise ConfigError(f"{name}={text} is not a whole number from 0. Set it right, or `unset {name}`.")
    return int(text)
