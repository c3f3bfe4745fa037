"""Gradients in memory: those that wait for the update, and what DeepSpeed holds to sum them and to update with them."""

from __future__ import annotations

from collections.abc import Iterator

from tunefleet.config.parallel import Place
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.memory_item import Item, Phase, Sizes
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.processes.gradient_sums import BUCKET, bucket_size, keeps_16_bits

LIVE = 1_000_000_000  # elements: stage3_max_live_parameters
PREFETCH = 50_000_000  # elements: stage3_prefetch_bucket_size
SUB_GROUP = 1_000_000_000  # elements: sub_group_size, what stage 3 updates at once


def gradients(size: Sizes, spread: Spread, work: Work) -> tuple[Place, Item]:
    """They are there during the forward pass where a step has several micro-batches, or DeepSpeed keeps a buffer."""
    in_16_bits = _in_16_bits(spread, work)
    persist = spread.zero_stage == 3 or (spread.zero_stage == 1 and size.width == 2 and not in_16_bits)
    width = 2 if in_16_bits else 4
    phases = Phase.ALWAYS if persist or work.accumulation > 1 else Phase.BACKWARD | Phase.SUM | Phase.UPDATE
    place = spread.optimizer_on if spread.optimizer_on is Place.CPU else Place.NONE
    return place, Item("gradients", size.trained * width // spread.share(2), phases)


def _in_16_bits(spread: Spread, work: Work) -> bool:
    """Whether DeepSpeed accumulates gradients in 16 bits: fp16 ones as they are, bf16 ones where nothing is added."""
    if not spread.zero_stage or work.precision is Precision.FP32:
        return False
    single = keeps_16_bits(spread.zero_stage, work.precision, work.accumulation, spread.pipeline)
    return work.precision is Precision.FP16 or not work.master_weights or single


def buffers(size: Sizes, spread: Spread, work: Work, on_gpu: bool) -> Iterator[Item]:
    """What DeepSpeed and torch hold to communicate and to update."""
    if spread.zero_stage == 0 or (spread.zero_stage == 1 and size.is_16bit and not _in_16_bits(spread, work)):
        yield Item("bucket of gradients", min(BUCKET, size.trained) * 4, Phase.SUM)  # even where there is one rank
    else:
        yield from _zero_buffers(size, spread, work, on_gpu)
    copies = 2 if size.tied else 1  # a tied embedding has two gradients before they are one
    yield Item("largest gradient", size.largest * copies * size.width, Phase.BACKWARD)
    if spread.zero_stage == 3:
        live = min(size.staged, LIVE + PREFETCH) * size.width
        yield Item("gathered parameters", live, Phase.FORWARD | Phase.BACKWARD)
    if not on_gpu and not work.fused:  # two temporaries of the largest tensor
        largest = size.trained // spread.share(1) if spread.zero_stage else size.largest
        yield Item("temporaries of the update", 2 * 4 * largest * bool(work.state_bytes), Phase.UPDATE)


def _zero_buffers(size: Sizes, spread: Spread, work: Work, on_gpu: bool) -> Iterator[Item]:
    """Buckets are asked for whole, whatever the model's size; a CPU gives memory only to what is written of them."""
    elements = bucket_size(size.hidden) if on_gpu else BUCKET
    touched = min(elements, size.trained)
    width = 4 if spread.zero_stage == 1 and not _in_16_bits(spread, work) else size.width
    formats = 2 if spread.zero_stage == 3 and size.is_16bit else 1  # stage 3 has one for each dtype
    # while one is summed the next is filled: overlap_comm of stages 1 and 2 (zero/stage_1_and_2.py)
    filled = 2 if on_gpu and spread.shards > 1 and spread.pipeline == 1 and spread.zero_stage < 3 else 1
    bucket = elements * width * formats * filled if on_gpu else touched * width
    yield Item("buckets of gradients", bucket, Phase.ALWAYS if spread.zero_stage == 3 else Phase.BACKWARD)
    if spread.shards > 1 and size.is_16bit:
        yield Item("bucket in fp32 for the sum", touched * 4, Phase.BACKWARD)
    if spread.optimizer_on is Place.NONE:
        flat = size.trained // spread.share(1)
        at_once = min(flat, SUB_GROUP) if spread.zero_stage == 3 else flat
        yield Item("flat gradients of the update", (4 if work.master_weights else 2) * at_once, Phase.UPDATE)
