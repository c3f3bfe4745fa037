"""Strategies that are tried where one is to be chosen or advised, from the simplest on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from tunefleet.config import RunConfig
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.rules import all_rules
from tunefleet.plan.rules.request import Request

STRATEGIES = (
    ParallelConfig("ddp", 0),
    ParallelConfig("zero1", 1),
    ParallelConfig("zero2", 2),
    ParallelConfig("zero3", 3),
    ParallelConfig("zero2_offload", 2, offload_optimizer=Place.CPU),
    ParallelConfig("zero3_offload", 3, offload_optimizer=Place.CPU, offload_parameters=Place.CPU),
)
"""Each is a file below conf/parallel."""


def offered(config: RunConfig, degrees: Layout, architecture: Architecture) -> list[ParallelConfig]:
    """Those of STRATEGIES that are legal and save something: on a CPU the host's memory is the device's.

    All of them where none is legal: something else is wrong then, and complained about later.
    """
    saving = [
        parallel for parallel in STRATEGIES if degrees.device == "cuda" or parallel.offload_optimizer is Place.NONE
    ]
    legal = [parallel for parallel in saving if is_legal(replace(config, parallel=parallel), degrees, architecture)]
    return legal or saving


def is_legal(config: RunConfig, degrees: Layout, architecture: Architecture) -> bool:
    """Whether the rules of the plan let it through."""
    return not all_rules.complaints(Request(config, degrees, architecture))


def splitting(degrees: Layout) -> Iterator[ParallelConfig]:
    """What splits a layer, the rows or the list of layers. Ranks that communicate in every layer stay on one host."""
    sizes = [size for size in (2, 4, 8, 16, 32) if degrees.world_size % size == 0]
    within = [size for size in sizes if degrees.processes_here % size == 0]
    yield from (ParallelConfig("tensor_zero1", 1, tensor=size) for size in within)
    yield from (ParallelConfig("pipeline_zero1", 1, pipeline=size) for size in sizes)
    yield from (ParallelConfig("sequence", 3, sequence=size) for size in within)
    for tensor, stages in itertools.product(within, sizes):
        if degrees.world_size % (tensor * stages) == 0:
            yield ParallelConfig("tensor_pipeline", 1, tensor=tensor, pipeline=stages)


def overrides(parallel: ParallelConfig) -> tuple[str, ...]:
    """What to type for one of these: the file, and the degree that it does not say."""
    degrees = {name: getattr(parallel, name) for name in ("tensor", "pipeline", "sequence")}
    changed = (f"parallel.{name}={degree}" for name, degree in degrees.items() if degree > 1)
    return (f"parallel={parallel.name}", *changed)
