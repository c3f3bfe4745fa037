"""Forecast: whether a run fits on a machine, with how much room, and how fast it is."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base.units import GIB
from tunefleet.plan.estimate.gpus import Cluster
from tunefleet.plan.estimate.memory_items import Memory, memory
from tunefleet.plan.estimate.speed import Speed, speed
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture

HOST_ROOM = 0.95  # part of a host's memory that a run may take: the rest is the system's


@dataclass(frozen=True)
class Factors:
    """What finished runs measured, over what was forecast: memory of a process, tokens a second; `note` says whose."""

    memory: float = 1.0
    speed: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Forecast:
    """A run on a machine; `on_gpu` says whether its devices are GPUs, or processes that share the host's memory."""

    machine: Cluster
    spread: Spread
    work: Work
    memory: Memory
    speed: Speed
    on_gpu: bool
    processes_here: int
    factors: Factors = Factors()

    @property
    def device_limit(self) -> float | None:
        """GiB that one process may have; None is unknown."""
        return self.machine.device_memory if self.on_gpu else None

    @property
    def host_limit(self) -> float | None:
        """GiB that all processes of a host may have; None is unknown."""
        return self.machine.host_memory * HOST_ROOM if self.machine.host_memory else None

    @property
    def device_need(self) -> float:
        """GiB at the peak of one process."""
        return self.memory.device_bytes / GIB * self.factors.memory

    @property
    def host_need(self) -> float:
        """GiB at the peak of one host."""
        measured = 1.0 if self.on_gpu else self.factors.memory  # beside GPUs the host was not measured
        return self.memory.host_bytes / GIB * measured

    @property
    def need(self) -> str:
        """The larger of both, as a user reads it."""
        if self.on_gpu:
            return f"{self.device_need:.1f} GiB of each GPU"
        return f"{self.host_need:.1f} GiB of the host"

    @property
    def is_known(self) -> bool:
        """Whether there is anything to compare with."""
        return self.device_limit is not None or (not self.on_gpu and self.host_limit is not None)

    @property
    def fits(self) -> bool:
        """Whether nothing that is known speaks against it."""
        return not self.shortfalls

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """What is too small: `each GPU needs 93.1 GiB and A100-80G has 79.1`."""
        shortfalls = []
        if self.device_limit is not None and self.device_need > self.device_limit:
            shortfalls.append(f"each GPU needs {self.device_need:.1f} GiB and has {self.device_limit:.1f}")
        if self.host_limit is not None and self.host_need > self.host_limit:
            shortfalls.append(f"each host needs {self.host_need:.1f} GiB and may use {self.host_limit:.1f}")
        return tuple(shortfalls)


def forecast(
    architecture: Architecture, spread: Spread, work: Work, machine: Cluster, on_gpu: bool, processes_here: int
) -> Forecast:
    """The forecast of a run with `processes_here` on each host. Raises ValueError for a family that is not counted."""
    return Forecast(
        machine,
        spread,
        work,
        memory(architecture, spread, work, on_gpu, processes_here),
        speed(architecture, spread, work, machine),
        on_gpu,
        processes_here,
    )
