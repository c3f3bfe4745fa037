"""Who started this process: what torchrun, deepspeed, mpirun and srun say about its rank, if they agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tunefleet.base.errors import ConfigError


@dataclass(frozen=True)
class Ranks:
    """What one launcher says: this process is `rank` of `world_size`. None is what it does not say."""

    by: str
    rank: int
    world_size: int
    local_rank: int | None = None
    processes_here: int | None = None
    hosts: int | None = None
    names: tuple[str, str] = ("RANK", "WORLD_SIZE")

    def __str__(self) -> str:
        return f"{self.by} says rank {self.rank} of {self.world_size} ({', '.join(self.names)})"


@dataclass(frozen=True)
class _Dialect:
    """The variables of one launcher; of `local_rank`, `here` and `hosts` the first that is set counts."""

    by: str
    rank: str
    size: str
    local_rank: tuple[str, ...]
    here: tuple[str, ...]
    hosts: tuple[str, ...] = ()


_TORCH = _Dialect(
    "the environment",
    "RANK",
    "WORLD_SIZE",
    ("LOCAL_RANK",),
    ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"),  # torchrun, deepspeed
    ("GROUP_WORLD_SIZE", "CROSS_SIZE"),
)
_OPEN_MPI = _Dialect(
    "mpirun",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    ("OMPI_COMM_WORLD_LOCAL_RANK",),
    ("OMPI_COMM_WORLD_LOCAL_SIZE",),
)
_HYDRA_MPI = _Dialect(  # MPICH and Intel MPI; the second names are Cray's
    "mpirun", "PMI_RANK", "PMI_SIZE", ("MPI_LOCALRANKID", "PMI_LOCAL_RANK"), ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE")
)
_INNERMOST_FIRST = (_TORCH, _OPEN_MPI, _HYDRA_MPI)


def ranks(environment: Mapping[str, str]) -> Ranks | None:
    """What the innermost launcher says; None where nobody has started ranks, and we do.

    Raises `ConfigError` where launchers contradict each other, or one says half of what it must.
    """
    said = [found for dialect in _INNERMOST_FIRST if (found := _said(dialect, environment))]
    step = _step(environment)
    if step:
        said = [one for one in said if one.by != "mpirun" or not _same(one, step)]  # SLURM itself may speak PMI
    if step and step.world_size > 1:  # one task is an interactive shell, in which we start the ranks
        said.append(step)
    _expect_no_half(environment, said)
    for inner, outer in pairwise(said):
        _expect_harmony(inner, outer)
    return _together(said) if said else None


def _said(dialect: _Dialect, environment: Mapping[str, str]) -> Ranks | None:
    rank, size = _number(environment, dialect.rank), _number(environment, dialect.size)
    if rank is None or size is None:
        return None
    if not rank < size:
        raise ConfigError(
            f"{dialect.rank}={rank} is no rank of {dialect.size}={size}: ranks count from 0 to {size - 1}. "
            f"Set both right, or unset both: `unset {dialect.rank} {dialect.size}`."
        )
    return Ranks(
        _by(dialect, environment),
        rank,
        size,
        _first(environment, dialect.local_rank),
        _first(environment, dialect.here),
        _first(environment, dialect.hosts),
        (dialect.rank, dialect.size),
    )


def _by(dialect: _Dialect, environment: Mapping[str, str]) -> str:
    signs = {"TORCHELASTIC_RUN_ID": "torchrun", "CROSS_SIZE": "deepspeed"} if dialect is _TORCH else {}
    return next((launcher for sign, launcher in signs.items() if sign in environment), dialect.by)


def _step(environment: Mapping[str, str]) -> Ranks | None:
    """The step of SLURM around this process. A batch script has a SLURM_PROCID too, and is no step."""
    rank, size = _number(environment, "SLURM_PROCID"), _number(environment, "SLURM_STEP_NUM_TASKS")
    if rank is None or size is None:
        return None
    local, here = _number(environment, "SLURM_LOCALID"), _tasks_here(environment, size)
    return Ranks("srun", rank, size, local, here, names=("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))


def _tasks_here(environment: Mapping[str, str], size: int) -> int | None:
    """This node's part of SLURM_STEP_TASKS_PER_NODE, such as `4`, `2(x3)` or `4,2(x2)`."""
    if _number(environment, "SLURM_STEP_NUM_NODES") == 1:
        return size
    nodes: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", "")):
        nodes += [int(tasks)] * int(times or 1)
    node = _number(environment, "SLURM_NODEID") or 0
    return nodes[node] if node < len(nodes) else None


def _expect_no_half(environment: Mapping[str, str], said: Sequence[Ranks]) -> None:
    """A rank without a size, or the other way round, is a leftover, unless a whole launcher says the same."""
    for dialect in _INNERMOST_FIRST:
        rank, size = _number(environment, dialect.rank), _number(environment, dialect.size)
        if (rank is None) == (size is None) or any(rank == one.rank or size == one.world_size for one in said):
            continue
        there, missing = (dialect.rank, dialect.size) if size is None else (dialect.size, dialect.rank)
        raise ConfigError(
            f"{there}={environment[there]} is set and {missing} is not: half of what a launcher sets. "
            f"Set {missing} too, or let tunefleet start the processes: `unset {there}`."
        )


def _expect_harmony(inner: Ranks, outer: Ranks) -> None:
    """Both say the same; or the outer one started the inner one once on every host."""
    nested = outer.processes_here == 1 and inner.hosts in (None, outer.world_size)
    if not (_same(inner, outer) or nested or outer.world_size == 1):
        raise ConfigError(
            f"two launchers have started this process: {inner}, and {outer}. Start with one of them; or, if "
            f"{outer.by} is to start {inner.by}, let it start one on each host. If {' and '.join(inner.names)} are "
            f"left over from something else: `unset {' '.join(inner.names)}`."
        )


def _together(said: Sequence[Ranks]) -> Ranks:
    """The innermost launcher's words; what it leaves out, from those that say the same rank, who started it."""
    same = [one for one in said if _same(one, said[0])]
    local = next((one.local_rank for one in same if one.local_rank is not None), None)
    here = next((one.processes_here for one in same if one.processes_here is not None), None)
    return replace(same[-1], local_rank=local, processes_here=here)


def _same(one: Ranks, other: Ranks) -> bool:
    return (one.rank, one.world_size) == (other.rank, other.world_size)


def _first(environment: Mapping[str, str], names: Sequence[str]) -> int | None:
    return next((number for name in names if (number := _number(environment, name)) is not None), None)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d+", text):
        raise ConfigError(f"{name}={text} is not a whole number from 0. Set it right, or `unset {name}`.")
    return int(text)
