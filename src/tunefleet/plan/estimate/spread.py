"""Spread of one model: what is sharded over ranks, what is split, what is offloaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tunefleet.config.parallel import ParallelConfig, Partition, Place
from tunefleet.plan.processes.layout import Layout, reads_one_by_one, second_copy_ranks


@dataclass(frozen=True)
class Spread:
    """A strategy as the memory plan sees it: ZeRO's stage, degrees, and what is offloaded where.

    `copy_among` ranks keep a second copy of the parameters among them (ZeRO++), 1 is no copy; `nvme_buffer` is how
    many numbers the buffers of NVMe offload hold; `partition` is what the stages of a pipeline have alike;
    `one_by_one` is whether our engine reads weights of files, and DeepSpeed the whole model else.
    """

    zero_stage: int = 0
    data_parallel: int = 1
    tensor: int = 1
    pipeline: int = 1
    sequence: int = 1
    optimizer_on: Place = Place.NONE
    parameters_on: Place = Place.NONE
    copy_among: int = 1
    nvme_buffer: int = 0
    partition: Partition = Partition.PARAMETERS
    one_by_one: bool = True

    @property
    def shards(self) -> int:
        """Ranks that hold the same layers: ZeRO shards over data-parallel and sequence-parallel ranks alike."""
        return self.data_parallel * self.sequence

    @property
    def world_size(self) -> int:
        """All processes."""
        return self.shards * self.tensor * self.pipeline

    def share(self, since_stage: int) -> int:
        """Over how many ranks a state is sharded that ZeRO shards from `since_stage` on."""
        return self.shards if self.zero_stage >= since_stage else 1


def spread(parallel: ParallelConfig, layout: Layout) -> Spread:
    """What `parallel` makes of the processes of `layout`."""
    degrees = Spread(0, layout.data_parallel, layout.tensor, layout.pipeline, layout.sequence)
    return with_strategy(replace(degrees, partition=parallel.partition), parallel, layout.processes_here)


def with_strategy(degrees: Spread, parallel: ParallelConfig, processes_here: int) -> Spread:
    """The same degrees with what `parallel` shards and offloads."""
    on_nvme = Place.NVME in (parallel.offload_optimizer, parallel.offload_parameters)
    return replace(
        degrees,
        zero_stage=parallel.zero_stage,
        optimizer_on=parallel.offload_optimizer,
        parameters_on=parallel.offload_parameters,
        copy_among=second_copy_ranks(parallel, processes_here),
        one_by_one=reads_one_by_one(parallel, processes_here),
        nvme_buffer=parallel.nvme_buffers * parallel.nvme_buffer_size if on_nvme else 0,
    )
