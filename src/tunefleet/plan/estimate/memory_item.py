"""Memory item: bytes of something in the phases of a step, and the numbers of weights that they are counted from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto

from tunefleet.config.train import Precision
from tunefleet.plan.estimate.pipeline_stages import Stage
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture


class Phase(Flag):
    """When an item is there: before the first step, at the end of a forward pass, while gradients come, while they
    are summed over ranks, in the update."""

    START = auto()
    FORWARD = auto()
    BACKWARD = auto()
    SUM = auto()
    UPDATE = auto()
    ALWAYS = FORWARD | BACKWARD | SUM | UPDATE


@dataclass(frozen=True)
class Item:
    """`bytes` of something, in `phases` of a step. Not everything on a GPU is counted by torch's allocator."""

    name: str
    bytes: int
    phases: Phase = Phase.ALWAYS
    allocated: bool = True


@dataclass(frozen=True)
class Sizes:
    """Elements: all weights of the model, those of this stage, the trainable ones of these, and bytes of a weight."""

    model: int
    staged: int
    trained: int
    largest: int
    ends: int  # embedding and head, which quantisation leaves as they are
    hidden: int
    width: int  # bytes of a weight
    is_16bit: bool  # whether products are in 16 bits
    tied: bool  # whether embedding and head are one

    @staticmethod
    def in_stage(architecture: Architecture, spread: Spread, work: Work, stage: Stage) -> Sizes:
        """Tensor-parallel ranks shard the blocks, not the embeddings. The last stage has a copy of a tied embedding."""
        counted, shape = architecture.parameters, architecture.dimensions
        head = counted.head if stage.first else counted.head or counted.embedding
        ends = counted.embedding * stage.first + (head + counted.outside) * stage.last
        staged = round(counted.layers / shape.layers * stage.blocks / spread.tensor + ends)
        trainable = 1.0 if work.trained is None else work.trained / counted.total
        trained = round(staged * trainable)
        is_16bit = work.precision is not Precision.FP32
        vocab_rows = shape.vocab * (stage.first or stage.last)
        largest = max(vocab_rows, shape.ffn) * shape.hidden
        return Sizes(
            model=counted.total,
            staged=staged,
            trained=trained,
            largest=min(trained, largest),
            ends=counted.embedding * stage.first + counted.head * stage.last,
            hidden=shape.hidden,
            width=2 if is_16bit and spread.zero_stage else 4,
            is_16bit=is_16bit,
            tied=not counted.head,
        )
