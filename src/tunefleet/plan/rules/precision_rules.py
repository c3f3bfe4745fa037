"""Rules of precision: which dtype goes with which strategy and device."""

from __future__ import annotations

from tunefleet.config import RunConfig
from tunefleet.config.train import Precision
from tunefleet.plan.processes.layout import Layout


def loss_scale_of_each_rank(config: RunConfig) -> list[str]:
    """Without ZeRO the ranks that hold parts of a model do not agree on a step to skip."""
    parallel = config.parallel
    is_split = parallel.tensor > 1 or parallel.pipeline > 1
    if config.train.precision is not Precision.FP16 or parallel.zero_stage or not is_split:
        return []
    return [
        f"train.precision: with fp16 the ranks of {parallel.name} would each find a loss scale of their own, and skip "
        "different steps when a gradient overflows. Use train.precision=bf16."
    ]


def fp16_on_cpu(config: RunConfig, layout: Layout) -> list[str]:
    """ZeRO's fp16 needs a GPU."""
    if layout.device != "cpu" or config.train.precision is not Precision.FP16 or not config.parallel.zero_stage:
        return []
    return [
        f"train.precision: DeepSpeed has no fp16 for {config.parallel.name} on a CPU. "
        "Use train.precision=bf16, or parallel=ddp."
    ]


def master_weights(config: RunConfig) -> list[str]:
    """Only ZeRO in bf16 can do without fp32 master weights."""
    is_zero_bf16 = config.train.precision is Precision.BF16 and config.parallel.zero_stage
    if config.train.master_weights or is_zero_bf16:
        return []
    return [
        "train.master_weights: false needs train.precision=bf16 and ZeRO stage 1 or more. "
        "Use parallel=zero1 train.precision=bf16, or leave it out."
    ]
