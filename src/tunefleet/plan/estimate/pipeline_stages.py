"""Pipeline stages: the blocks of a model that each of them holds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tunefleet.config.parallel import Partition
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.families.architecture import Architecture


@dataclass(frozen=True)
class Stage:
    """What one process of a pipeline holds: `blocks`, the embeddings if it is the first, the head if it is the last.

    `in_flight` micro-batches wait in it for their backward pass at once. Without a pipeline there is one stage.
    """

    blocks: int
    first: bool = True
    last: bool = True
    in_flight: int = 1


def stages_of(architecture: Architecture, spread: Spread, accumulation: int) -> list[Stage]:
    """Every stage of a model; 1F1B keeps a micro-batch for each stage behind (Narayanan et al. 2021, PipeDream-Flush).

    Raises ValueError for a family that cannot be counted.
    """
    if spread.pipeline == 1:
        return [Stage(architecture.dimensions.layers)]
    cuts = boundaries(architecture, spread.pipeline, spread.partition)
    last = spread.pipeline - 1
    return [
        Stage(end - begin, number == 0, number == last, min(spread.pipeline - number, accumulation))
        for number, (begin, end) in enumerate(pairwise(cuts))
    ]


def boundaries(architecture: Architecture, stages: int, partition: Partition) -> tuple[int, ...]:
    """The first block of every stage, and behind them the number of blocks: stage s holds [b[s], b[s + 1]).

    Every stage has a block. The first one has the embeddings besides, the last one the final norm and the head
    (a tied head is a copy of the embedding). Empty without a pipeline.
    """
    if stages == 1:
        return ()
    blocks = architecture.dimensions.layers
    weight = architecture.parameters
    besides = [0] * stages
    if partition is Partition.PARAMETERS:
        besides[0], besides[-1] = weight.embedding, weight.outside + (weight.head or weight.embedding)
    blocks_of = _evenly(blocks, weight.layers // blocks, besides)
    return tuple(sum(blocks_of[:stage]) for stage in range(stages + 1))


def _evenly(blocks: int, block: int, besides: list[int]) -> list[int]:
    """Blocks of each stage: the next one always goes to the lightest. Among equals to the last.

    Early stages keep the activations of more micro-batches, and so should not be the heavy ones.
    """
    counts = [1] * len(besides)
    for _ in range(blocks - len(besides)):
        lightest = min(reversed(range(len(counts))), key=lambda stage: besides[stage] + counts[stage] * block)
        counts[lightest] += 1
    return counts


def idle(stages: int, accumulation: int) -> float:
    """The share of a step in which a stage waits, where all take equally long (Narayanan et al., PipeDream, 2019)."""
    return (stages - 1) / (accumulation + stages - 1)


def describe(stages: tuple[int, ...], accumulation: int) -> str:
    """The stages as the summary of a run tells them."""
    blocks = ", ".join(f"{first}-{end - 1}" for first, end in pairwise(stages))
    return f"blocks {blocks}; each stage waits for {idle(len(stages) - 1, accumulation):.0%} of a step"
