"""Rules of offloading and ZeRO++: where they are legal, and what to use instead."""

from __future__ import annotations

from math import gcd
from pathlib import Path

from tunefleet.config import RunConfig
from tunefleet.config.fields import as_typed
from tunefleet.config.parallel import AUTO, ParallelConfig, Place
from tunefleet.plan.processes.layout import Layout, second_copy_ranks

_NEAREST = {
    "offload_optimizer": "zero3_offload",
    "offload_parameters": "zero3_offload",
    "hierarchical": "zeropp",
    "quantized_weights": "zeropp",
    "quantized_gradients": "zeropp",
}


def stage(config: RunConfig) -> list[str]:
    """Settings that need a higher stage of ZeRO."""
    parallel = config.parallel
    if parallel.name == AUTO:
        return []  # none of them may be typed beside it (choose/auto.py)
    return [
        f"parallel.{setting}: {as_typed(getattr(parallel, setting))} needs ZeRO stage {lowest}"
        f"{' or more' if lowest < 3 else ''}, and {parallel.name} has stage {parallel.zero_stage}. "
        f"Use parallel={_NEAREST[setting]}, or leave it out."
        for setting, lowest in _lowest_stages(parallel).items()
        if parallel.zero_stage < lowest
    ]


def _lowest_stages(parallel: ParallelConfig) -> dict[str, int]:
    return {
        "offload_optimizer": {Place.CPU: 1, Place.NVME: 3}.get(parallel.offload_optimizer, 0),
        "offload_parameters": 0 if parallel.offload_parameters is Place.NONE else 3,
        "hierarchical": 0 if parallel.hierarchical == 1 else 3,
        "quantized_weights": 3 if parallel.quantized_weights else 0,
        "quantized_gradients": 3 if parallel.quantized_gradients else 0,
    }


def nvme(config: RunConfig, layout: Layout) -> list[str]:
    """NVMe offload needs a folder; parameters on it need a GPU."""
    parallel = config.parallel
    if Place.NVME not in (parallel.offload_optimizer, parallel.offload_parameters):
        return []
    complaints = []
    if parallel.offload_parameters is Place.NVME and layout.device == "cpu":
        complaints.append(
            "parallel.offload_parameters: without a GPU DeepSpeed fails on parameters on nvme "
            "(param already assigned swap buffer). Use parallel.offload_parameters=cpu."
        )
    return complaints + _nvme_path(parallel.nvme_path)


def _nvme_path(path: str | None) -> list[str]:
    if path is None:
        return ["parallel.nvme_path: not set. Give a folder on a fast local drive: parallel.nvme_path=/scratch."]
    if not Path(path).is_absolute():
        return [f"parallel.nvme_path: {path} is not allowed. Allowed: a path that begins with /."]
    return []


def checkpoints(config: RunConfig) -> list[str]:
    """DeepSpeed does not read optimizer states on nvme back (engine/nvme_offload.py)."""
    interval = config.checkpoint.every
    saves = (interval is not None and not interval.is_never) or config.checkpoint.at_end
    saves = saves or config.checkpoint.keep_best > 0
    if config.parallel.offload_optimizer is not Place.NVME or not saves:
        return []
    return [
        "parallel.offload_optimizer: with optimizer states on nvme a run cannot be resumed: DeepSpeed does not "
        "restore them. Use parallel.offload_optimizer=cpu, or give up checkpoints (the export at the end stays): "
        "checkpoint.every=null checkpoint.at_end=false."
    ]


def quantized_on_cpu(config: RunConfig, layout: Layout) -> list[str]:
    """ZeRO++ quantises with CUDA kernels."""
    settings = [key for key in ("quantized_weights", "quantized_gradients") if getattr(config.parallel, key)]
    if not settings or layout.device != "cpu":
        return []
    off = " ".join(f"parallel.{key}=false" for key in settings)
    return [f"parallel.{settings[0]}: DeepSpeed quantises on GPUs only. Use {off}."]


def second_copy(config: RunConfig, layout: Layout) -> list[str]:
    """ZeRO++ keeps second copies among groups of equal size."""
    ranks = second_copy_ranks(config.parallel, layout.processes_here)
    if layout.data_parallel % ranks == 0:
        return []
    return [
        f"parallel.hierarchical: {ranks} does not divide {layout.data_parallel} data-parallel processes. "
        f"Use parallel.hierarchical={gcd(ranks, layout.data_parallel)}."
    ]


def notes(parallel: ParallelConfig, layout: Layout) -> list[str]:
    """What saves nothing here."""
    notes = []
    offloaded = {parallel.offload_optimizer, parallel.offload_parameters} - {Place.NONE}
    if Place.CPU in offloaded and layout.device == "cpu":
        notes.append(f"{parallel.name} saves no memory here: the device is the CPU already.")
    if 1 < second_copy_ranks(parallel, layout.processes_here) == layout.data_parallel:
        notes.append("parallel.hierarchical: one machine holds every process, so the second copy saves no traffic.")
    if parallel.nvme_path and Place.NVME not in offloaded:
        notes.append("parallel.nvme_path is not used: nothing is offloaded to nvme.")
    return notes
