"""How the model and its states are spread over processes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.config.fields import ranged


class Partition(Enum):
    """What the stages of a pipeline have alike."""

    PARAMETERS = "parameters"
    UNIFORM = "uniform"


@dataclass(frozen=True)
class ParallelConfig:
    """A parallel strategy, named by its YAML."""

    name: str = "ddp"
    """The strategy's name."""
    zero_stage: int = ranged(0, at_least=0, at_most=3)
    """What data-parallel ranks share out: 0 nothing, 1 optimizer states, 2 + gradients, 3 + parameters."""
    tensor: int = ranged(1, at_least=1)
    """Processes that share every layer: each computes a part of its heads and of its feed-forward."""
    pipeline: int = ranged(1, at_least=1)
    """Processes that hold different layers: each passes its activations on to the next."""
    partition: Partition = Partition.PARAMETERS
    """Pipeline: what its stages have alike: `parameters` (embedding and head counted), or blocks (`uniform`)."""
    sequence: int = ranged(1, at_least=1)
    """Processes that share every row: each computes a part of its tokens."""
    max_processes: int | None = ranged(None, at_least=1)
    """The most processes that this strategy can use; null is any number."""
