"""Gradient sums: in which dtype DeepSpeed adds gradients up, and how many of them at a time."""

from __future__ import annotations

from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.train import Precision, TrainConfig

BUCKET = 500_000_000  # elements: zero_optimization.reduce_bucket_size of DeepSpeed
_LEAST = 2**24  # elements: smaller buckets wait for their start, 32 MiB do not (transformers' auto for 4,096 of width)


def bucket_size(hidden: int | None) -> int:
    """Elements of a bucket of gradients on a GPU: the square of the hidden size, as transformers' `auto` has it
    (transformers/integrations/deepspeed.py, `trainer_config_finalize`); DeepSpeed's own where that is not known."""
    return BUCKET if hidden is None else min(BUCKET, max(_LEAST, hidden * hidden))


def keeps_16_bits(zero_stage: int, precision: Precision, accumulation: int, pipeline: int = 1) -> bool:
    """Whether gradients stay in bf16 until the update, as DeepSpeed has it by default: nothing is added to them.

    ZeRO-2 rounds a sum over ranks to bf16 before it is kept, so nothing is lost where a step has one micro-batch.
    Stage 1 has another optimizer for it, and keeps fp32.
    """
    return zero_stage >= 2 and precision is Precision.BF16 and accumulation == 1 and pipeline == 1


def accumulates_bf16(parallel: ParallelConfig, train: TrainConfig, accumulation: int) -> bool:
    """The same for a run, and where there are no fp32 master weights."""
    if train.precision is not Precision.BF16:
        return False
    single = keeps_16_bits(parallel.zero_stage, train.precision, accumulation, parallel.pipeline)
    return single or (parallel.zero_stage > 0 and not train.master_weights)
