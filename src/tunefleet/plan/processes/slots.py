"""Slots of a grid: how many of its points run here in parallel, and which part of the machine each one has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tunefleet.base.errors import ConfigError
from tunefleet.config.launch import LaunchConfig
from tunefleet.plan.processes.machine import Machine, devices


@dataclass(frozen=True)
class Share:
    """A place for each of `slots` points at once. `machine` is what a point is planned with."""

    slots: int
    machine: Machine
    devices: Sequence[str] = ()

    def environment(self, slot: int) -> Mapping[str, str]:
        """What a process in `slot` sees: its own GPUs."""
        if not self.devices:
            return {}
        devices = self.devices[slot * self.machine.gpus : (slot + 1) * self.machine.gpus]
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices)}


def share(launch: LaunchConfig, machine: Machine, points: int, environment: Mapping[str, str] = os.environ) -> Share:
    """The places for `points` points. Raises `ConfigError` where they do not fit on the machine."""
    gpus = launch.gpus_per_run or machine.gpus
    runs = launch.parallel_runs or (machine.gpus // gpus if gpus else 1) or 1
    if runs * gpus > machine.gpus:
        raise ConfigError(_too_many(launch, machine, runs, gpus))
    slots = min(runs, points) or 1
    if launch.port and slots > 1:
        raise ConfigError(f"launch.port: {launch.port} is one port for {slots} points side by side. Leave it out.")
    part = replace(machine, gpus=gpus, cores=max(1, machine.cores // slots))
    return Share(slots, part, devices(environment)[: machine.gpus])


def _too_many(launch: LaunchConfig, machine: Machine, runs: int, gpus: int) -> str:
    default = "" if launch.gpus_per_run else " (all, as launch.gpus_per_run is not set)"
    if not machine.gpus:
        move = "Leave launch.gpus_per_run out."
    elif runs <= machine.gpus:
        move = f"Use launch.gpus_per_run={machine.gpus // runs}, or launch.parallel_runs={machine.gpus // gpus or 1}."
    else:
        move = f"Use launch.gpus_per_run=1 launch.parallel_runs={machine.gpus}, or less."
    return (
        f"launch: {runs} parallel_runs x {gpus} gpus_per_run{default} = {runs * gpus} GPUs, "
        f"and this machine has {machine.gpus}. {move}"
    )
