"""What DeepSpeed is told about offloading and ZeRO++, and where they are legal."""

from __future__ import annotations

from math import gcd
from pathlib import Path
from typing import Any

from tunefleet.config import RunConfig
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.plan.processes.layout import Layout, second_copy_ranks

_SUB_GROUP = 20_000_000  # numbers that the optimizer reads from a drive at once


def added(parallel: ParallelConfig) -> dict[str, Any]:
    """DeepSpeed's keys outside `zero_optimization`."""
    keys: dict[str, Any] = {}
    if parallel.offload_optimizer is not Place.NONE:
        keys["zero_force_ds_cpu_optimizer"] = False  # the optimizer is ours, by plan/rules/optimizers.py
    if Place.NVME in (parallel.offload_optimizer, parallel.offload_parameters):
        keys["aio"] = {"block_size": 1 << 20, "queue_depth": 8, "single_submit": False, "overlap_events": True}
    return keys


def zero(parallel: ParallelConfig, degrees: Layout) -> dict[str, Any]:
    """DeepSpeed's keys inside `zero_optimization`."""
    keys: dict[str, Any] = {}
    if parallel.offload_optimizer is not Place.NONE:
        keys["offload_optimizer"] = _place(parallel.offload_optimizer, parallel, degrees)
    if parallel.offload_parameters is not Place.NONE:
        keys["offload_param"] = _place(parallel.offload_parameters, parallel, degrees)
    if parallel.offload_optimizer is Place.NVME:
        keys["sub_group_size"] = _SUB_GROUP
    if parallel.offload_parameters is Place.NVME:
        keys["offload_param"]["buffer_size"] = parallel.nvme_buffer_size
    return keys | _plus(parallel, degrees)


def _place(place: Place, parallel: ParallelConfig, degrees: Layout) -> dict[str, Any]:
    keys: dict[str, Any] = {"device": place.value, "pin_memory": degrees.device == "cuda"}
    if place is Place.NVME:
        keys |= {"nvme_path": parallel.nvme_path, "buffer_count": parallel.nvme_buffers}
    return keys


def _plus(parallel: ParallelConfig, degrees: Layout) -> dict[str, Any]:
    """ZeRO++ (Wang et al., 2023)."""
    keys: dict[str, Any] = {}
    if (copies := second_copy_ranks(parallel, degrees.processes_here)) > 1:
        keys["zero_hpz_partition_size"] = copies
    if parallel.quantized_weights:
        keys["zero_quantized_weights"] = True
    if parallel.quantized_gradients:
        keys["zero_quantized_gradients"] = True
    return keys


def complaints(config: RunConfig, degrees: Layout) -> list[str]:
    """What cannot work, with the nearest setting that can."""
    parallel = config.parallel
    return [*_stages(parallel), *_drive(parallel, degrees), *_unsaved(config), *_plus_refused(parallel, degrees)]


def _stages(parallel: ParallelConfig) -> list[str]:
    """Settings that need a higher stage."""
    least = {
        "offload_optimizer": {Place.CPU: 1, Place.NVME: 3}.get(parallel.offload_optimizer, 0),
        "offload_parameters": 0 if parallel.offload_parameters is Place.NONE else 3,
        "hierarchical": 0 if parallel.hierarchical == 1 else 3,
        "quantized_weights": 3 if parallel.quantized_weights else 0,
        "quantized_gradients": 3 if parallel.quantized_gradients else 0,
    }
    return [
        f"parallel.{setting}: {_spelt(getattr(parallel, setting))} needs ZeRO stage {stage}"
        f"{' or more' if stage < 3 else ''}, and {parallel.name} has stage {parallel.zero_stage}. "
        f"Use parallel={_NEAREST[setting]}, or leave it out."
        for setting, stage in least.items()
        if parallel.zero_stage < stage
    ]


def _spelt(value: Any) -> str:
    return str(getattr(value, "value", "null" if value is None else str(value).lower()))


_NEAREST = {
    "offload_optimizer": "zero3_offload",
    "offload_parameters": "zero3_offload",
    "hierarchical": "zeropp",
    "quantized_weights": "zeropp",
    "quantized_gradients": "zeropp",
}


def _drive(parallel: ParallelConfig, degrees: Layout) -> list[str]:
    """What lies on nvme needs a folder; parameters on it need a GPU."""
    if Place.NVME not in (parallel.offload_optimizer, parallel.offload_parameters):
        return []
    found = []
    if parallel.offload_parameters is Place.NVME and degrees.device == "cpu":
        found.append(
            "parallel.offload_parameters: without a GPU DeepSpeed fails on parameters on nvme "
            "(param already assigned swap buffer). Use parallel.offload_parameters=cpu."
        )
    if parallel.nvme_path is None:
        found.append("parallel.nvme_path: not set. Give a folder on a fast local drive: parallel.nvme_path=/scratch.")
    elif not Path(parallel.nvme_path).is_absolute():
        found.append(f"parallel.nvme_path: {parallel.nvme_path} is not allowed. Allowed: a path that begins with /.")
    return found


def _unsaved(config: RunConfig) -> list[str]:
    """DeepSpeed does not read optimizer states on nvme back (engine/nvme_offload.py)."""
    every = config.checkpoint.every
    saves = (every is not None and not every.is_never) or config.checkpoint.at_end
    if config.parallel.offload_optimizer is not Place.NVME or not saves:
        return []
    return [
        "parallel.offload_optimizer: with optimizer states on nvme a run cannot be continued: DeepSpeed does not "
        "restore them. Use parallel.offload_optimizer=cpu, or give up checkpoints (the export at the end stays): "
        "checkpoint.every=null checkpoint.at_end=false."
    ]


def _plus_refused(parallel: ParallelConfig, degrees: Layout) -> list[str]:
    found = []
    quantized = [n for n in ("quantized_weights", "quantized_gradients") if getattr(parallel, n)]
    if quantized and degrees.device == "cpu":
        off = " ".join(f"parallel.{name}=false" for name in quantized)
        found.append(f"parallel.{quantized[0]}: DeepSpeed quantises on GPUs only. Use {off}.")
    copies = second_copy_ranks(parallel, degrees.processes_here)
    if degrees.data_parallel % copies:
        found.append(
            f"parallel.hierarchical: {copies} does not divide {degrees.data_parallel} data-parallel processes. "
            f"Use parallel.hierarchical={gcd(copies, degrees.data_parallel)}."
        )
    return found


def notes(parallel: ParallelConfig, degrees: Layout) -> list[str]:
    """What saves nothing here."""
    said = []
    offloaded = {parallel.offload_optimizer, parallel.offload_parameters} - {Place.NONE}
    if Place.CPU in offloaded and degrees.device == "cpu":
        said.append(f"{parallel.name} saves no memory here: the device is the CPU already.")
    if 1 < second_copy_ranks(parallel, degrees.processes_here) == degrees.data_parallel:
        said.append("parallel.hierarchical: one machine holds every process, so the second copy saves no traffic.")
    if parallel.nvme_path and Place.NVME not in offloaded:
        said.append("parallel.nvme_path is not used: nothing is offloaded to nvme.")
    return said
