"""Offload configuration: offloading and ZeRO++ as DeepSpeed spells them."""

from __future__ import annotations

from typing import Any

from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.plan.processes.layout import Layout, second_copy_ranks

_SUB_GROUP = 20_000_000  # numbers that the optimizer reads from a drive at once


def added(parallel: ParallelConfig) -> dict[str, Any]:
    """DeepSpeed's keys outside `zero_optimization`."""
    keys: dict[str, Any] = {}
    if parallel.offload_optimizer is not Place.NONE:
        keys["zero_force_ds_cpu_optimizer"] = False  # the optimizer is ours, by plan/rules/optimizer_rules.py
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
