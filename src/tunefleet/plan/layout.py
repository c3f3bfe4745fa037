"""How the processes are divided: the degrees of parallelism and their product."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base.errors import ConfigError
from tunefleet.config.launch import LaunchConfig
from tunefleet.config.parallel import ParallelConfig
from tunefleet.plan.machine import Machine


@dataclass(frozen=True)
class Layout:
    """`world_size` processes, of which `data_parallel` groups read different rows."""

    world_size: int
    data_parallel: int
    processes_here: int
    device: str

    def data_rank(self, rank: int) -> int:
        """Which share of the rows process `rank` reads: peers of one model copy read the same."""
        return rank * self.data_parallel // self.world_size


def layout(parallel: ParallelConfig, launch: LaunchConfig, machine: Machine) -> Layout:
    """The layout on `machine`. Raises `ConfigError` where the strategy cannot use that many processes."""
    world = machine.world_size or launch.processes or machine.gpus or 1
    most = parallel.max_processes
    if most and world > most:
        if launch.processes or machine.world_size:
            raise ConfigError(
                f"parallel: {parallel.name} uses {most} process and this run has {world}. "
                f"Use parallel=ddp or zero1, zero2, zero3, or launch.processes={most}."
            )
        world = most
    device = "cuda" if machine.gpus else "cpu"
    return Layout(world_size=world, data_parallel=world, processes_here=machine.processes_here or world, device=device)
