"""How is one model spread: what the ranks share out, what is split, what lies outside the devices?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.config.parallel import ParallelConfig
from tunefleet.plan.layout import Layout


class Place(Enum):
    """Where a state lies between its uses."""

    DEVICE = "device"
    HOST = "cpu"
    DISK = "nvme"


@dataclass(frozen=True)
class Spread:
    """A strategy as the memory plan sees it: ZeRO's stage, degrees, and what is offloaded where."""

    zero_stage: int = 0
    data_parallel: int = 1
    tensor: int = 1
    pipeline: int = 1
    sequence: int = 1
    optimizer_on: Place = Place.DEVICE
    parameters_on: Place = Place.DEVICE

    @property
    def shards(self) -> int:
        """Ranks that hold the same layers: ZeRO shares out over data-parallel ranks and sequence peers alike."""
        return self.data_parallel * self.sequence

    @property
    def world_size(self) -> int:
        """All processes."""
        return self.shards * self.tensor * self.pipeline

    def share(self, since_stage: int) -> int:
        """Over how many ranks a state is shared out that ZeRO shares from `since_stage` on."""
        return self.shards if self.zero_stage >= since_stage else 1


def spread(parallel: ParallelConfig, layout: Layout) -> Spread:
    """What `parallel` makes of the processes of `layout`."""
    return Spread(parallel.zero_stage, layout.data_parallel, layout.tensor, layout.pipeline, layout.sequence)
