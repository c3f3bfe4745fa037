"""How many points of a grid run here side by side, and which part of the machine each one has."""

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
        own = self.devices[slot * self.machine.gpus : (slot + 1) * self.machine.gpus]
        return {"CUDA_VISIBLE_DEVICES": ",".join(own)}


def share(launch: LaunchConfig, machine: Machine, points: int, environment: Mapping[str, str] = os.environ) -> Share:
    """The places for `points` points. Raises `ConfigError` where they do not fit on the machine."""
    each = launch.gpus_per_run or machine.gpus
    asked = launch.parallel_runs or (machine.gpus // each if each else 1) or 1
    if asked * each > machine.gpus:
        raise ConfigError(_too_many(launch, machine, asked, each))
    slots = min(asked, points) or 1
    if launch.port and slots > 1:
        raise ConfigError(f"launch.port: {launch.port} is one port for {slots} points side by side. Leave it out.")
    own = replace(machine, gpus=each, cores=max(1, machine.cores // slots))
    return Share(slots, own, devices(environment)[: machine.gpus])


def _too_many(launch: LaunchConfig, machine: Machine, asked: int, each: int) -> str:
    told = "" if launch.gpus_per_run else " (all, as launch.gpus_per_run is not set)"
    if not machine.gpus:
        move = "Leave launch.gpus_per_run out."
    elif asked <= machine.gpus:
        move = f"Use launch.gpus_per_run={machine.gpus // asked}, or launch.parallel_runs={machine.gpus // each or 1}."
    else:
        move = f"Use launch.gpus_per_run=1 launch.parallel_runs={machine.gpus}, or less."
    return (
        f"launch: {asked} parallel_runs x {each} gpus_per_run{told} = {asked * each} GPUs, "
        f"and this machine has {machine.gpus}. {move}"
    )
