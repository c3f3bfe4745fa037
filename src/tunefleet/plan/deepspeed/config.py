"""DeepSpeed configuration (https://www.deepspeed.ai/docs/config-json/), in literal values."""

from __future__ import annotations

from typing import Any

from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.train import Precision, TrainConfig
from tunefleet.plan.deepspeed import offload
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.gradient_sums import accumulates_bf16, bucket_size
from tunefleet.plan.processes.layout import Layout


def engine_config(
    parallel: ParallelConfig, train: TrainConfig, batch: Batch, degrees: Layout, hidden: int | None = None
) -> dict[str, Any]:
    """The DeepSpeed configuration, with literal values only: DeepSpeed keeps `auto` and misspelt keys.

    `hidden` is the model's hidden size, None where it is not known.
    """
    return {
        **batch_keys(batch, degrees),
        **(_PIPELINE if degrees.pipeline > 1 else {}),
        "gradient_clipping": (train.clip or _NO_CLIP) if parallel.zero_stage else 0.0,  # the engine clips at stage 0
        "zero_optimization": _zero(parallel, degrees, hidden),
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        **offload.added(parallel),
        **precision_keys(parallel, train, batch),
        **(_SUMS if sums_16bit_gradients(parallel, train, degrees) else {}),
    }


def sums_16bit_gradients(parallel: ParallelConfig, train: TrainConfig, degrees: Layout) -> bool:
    """Whether gradients of 16 bits are summed over processes; stage 0 has fp32 ones."""
    return degrees.replicas > 1 and parallel.zero_stage > 0 and train.precision is not Precision.FP32


def _zero(parallel: ParallelConfig, degrees: Layout, hidden: int | None) -> dict[str, Any]:
    """On GPUs gradients are summed beside the backward pass; stage 3 does so by itself, and a pipeline cannot."""
    overlaps = degrees.replicas > 1 and degrees.pipeline == 1 and degrees.device == "cuda"
    overlap = {"overlap_comm": True} if overlaps and parallel.zero_stage in (1, 2) else {}
    has_buckets = degrees.device == "cuda" and parallel.zero_stage and hidden is not None
    buckets = {"reduce_bucket_size": bucket_size(hidden)} if has_buckets else {}
    return {"stage": parallel.zero_stage, **overlap, **buckets, **offload.zero(parallel, degrees)}


def batch_keys(batch: Batch, degrees: Layout) -> dict[str, int]:
    """The split of a step's rows; DeepSpeed counts sequence-parallel ranks as if each had rows of its own."""
    return {
        "train_batch_size": batch.total * degrees.sequence,
        "train_micro_batch_size_per_gpu": batch.micro,
        "gradient_accumulation_steps": batch.accumulation,
    }


def precision_keys(parallel: ParallelConfig, train: TrainConfig, batch: Batch) -> dict[str, Any]:
    """Stage 0 keeps fp32 weights and autocasts; stages 1 to 3 keep fp32 masters and accumulate in fp32, or keep what
    they need not add to anything."""
    if train.precision is Precision.FP32:
        return {}
    if parallel.zero_stage == 0:
        return {"torch_autocast": {"enabled": True, "dtype": train.precision.dtype}}
    if train.precision is Precision.FP16:
        return {"fp16": {"enabled": True, "loss_scale": 0, "initial_scale_power": 16, "loss_scale_window": 500}}
    low = {} if train.master_weights else {"bf16_master_weights_and_grads": True, "bf16_optimizer_states": True}
    sums = "bf16" if accumulates_bf16(parallel, train, batch.accumulation) else "fp32"
    return {"bf16": {"enabled": True, **low}, "data_types": {"grad_accum_dtype": sums}}


_PIPELINE = {"pipeline": {"pipe_partitioned": False, "grad_partitioned": False}}  # ranks send whole tensors
_SUMS = {"communication_data_type": "fp32"}  # DeepSpeed would sum bf16 in bf16, and round after every summand
_NO_CLIP = 1e30  # 0 would turn the gradient norm off with the clipping
