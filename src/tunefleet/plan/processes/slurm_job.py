"""SLURM job of a run: whether there is one, its size and its cost, and the machines that it will have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunefleet.base.units import clock
from tunefleet.config import RunConfig
from tunefleet.config.launch import LaunchConfig, Launcher
from tunefleet.plan.processes.machine import Machine


@dataclass(frozen=True)
class Job:
    """A SLURM job: `options` of sbatch by their long names, with _ for -; `minutes` is its time limit."""

    nodes: int
    tasks_per_node: int
    gpus_per_node: int
    minutes: int
    options: dict[str, Any]

    @property
    def gpu_hours(self) -> float:
        """What one job costs at most."""
        return self.nodes * self.gpus_per_node * self.minutes / 60

    def summary(self) -> str:
        """The job as the user asks for it."""
        per_node = f"{self.gpus_per_node} GPUs" if self.gpus_per_node else f"{self.tasks_per_node} processes"
        cost = f", at most {self.gpu_hours:g} GPU-hours" if self.gpu_hours else ""
        return f"SLURM, {self.nodes} nodes x {per_node}, limit {clock(self.minutes * 60)}{cost}"


def promised(launch: LaunchConfig) -> Machine:
    """The machines that the job will have, as one; none of them is needed to plan."""
    tasks = launch.processes or launch.gpus_per_node or 1
    cores = (launch.cpus_per_task or 1) * tasks
    return Machine(gpus=launch.gpus_per_node, cores=cores, world_size=launch.nodes * tasks, processes_here=tasks)


def machine_for(config: RunConfig) -> Machine:
    """What the run will have: this machine, or the ones that the job asks for."""
    return promised(config.launch) if expected(config.launch) else Machine.this()


def expected(launch: LaunchConfig) -> bool:
    """Whether the run becomes a job."""
    return launch.name is Launcher.SLURM
