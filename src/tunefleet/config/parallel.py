"""Group `parallel`: how the model and its states are sharded over processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.config.fields import ranged

AUTO = "auto"
"""The name of the strategy that the plan chooses."""


class Partition(Enum):
    """What the stages of a pipeline have alike."""

    PARAMETERS = "parameters"
    UNIFORM = "uniform"


class Place(Enum):
    """Where something lies that the device need not hold all the time: nowhere else, host memory, or a drive."""

    NONE = "none"
    CPU = "cpu"
    NVME = "nvme"


@dataclass(frozen=True)
class ParallelConfig:
    """A parallel strategy, named by its YAML."""

    name: str = "ddp"
    """The strategy's name."""
    zero_stage: int = ranged(0, at_least=0, at_most=3)
    """What is sharded over data-parallel ranks: 0 nothing, 1 optimizer states, 2 + gradients, 3 + parameters."""
    tensor: int = ranged(1, at_least=1)
    """Processes that share every layer: each computes a part of its heads and of its feed-forward."""
    pipeline: int = ranged(1, at_least=1)
    """Processes that hold different layers: each passes its activations on to the next."""
    partition: Partition = Partition.PARAMETERS
    """Pipeline: what its stages have alike: `parameters` (embedding and head counted), or blocks (`uniform`)."""
    sequence: int = ranged(1, at_least=1)
    """Processes that share every sequence: each computes a part of its tokens."""
    max_processes: int | None = ranged(None, at_least=1)
    """The most processes that this strategy can use; null is any number."""
    offload_optimizer: Place = Place.NONE
    """Where optimizer states and fp32 masters lie, and with them the update; nvme needs zero_stage 3."""
    offload_parameters: Place = Place.NONE
    """Where parameters lie while they are not computed with; needs zero_stage 3."""
    nvme_path: str | None = None
    """Folder on a fast local drive, the same on every machine; needed where anything lies on nvme."""
    nvme_buffers: int = ranged(5, at_least=4)
    """Buffers in host memory between drive and device."""
    nvme_buffer_size: int = ranged(100_000_000, at_least=1)
    """Numbers that one buffer of parameters holds; not below the largest weight matrix."""
    hierarchical: int | None = ranged(1, at_least=1)
    """Processes that keep a second, whole copy of the parameters among them for the backward pass (ZeRO++ hpZ): 1 is no
    copy, null is the processes of one machine; needs zero_stage 3."""
    quantized_weights: bool = False
    """Whether parameters are gathered as 8-bit numbers (ZeRO++ qwZ); needs zero_stage 3 and GPUs."""
    quantized_gradients: bool = False
    """Whether gradients are reduced as 4-bit numbers (ZeRO++ qgZ); needs zero_stage 3 and GPUs."""
