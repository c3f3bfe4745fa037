"""Size of a checkpoint: its trained weights, their fp32 masters and the optimizer's states, all ranks together."""

from __future__ import annotations

from tunefleet.config import RunConfig
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.work import state_bytes
from tunefleet.plan.families import lora_targets
from tunefleet.plan.families.architecture import Architecture

_FP32 = 4  # bytes


def checkpoint_bytes(config: RunConfig, architecture: Architecture) -> int:
    """Bytes on the disk, estimated. Raises `ValueError` for a family that cannot be counted.

    Frozen weights are in no checkpoint. At stage 3 the masters are the only copy that DeepSpeed writes.
    """
    stage, precision = config.parallel.zero_stage, config.train.precision
    trained = lora_targets.lora_parameters(architecture, config.adapter) or architecture.parameters.total
    weights = _FP32 if stage == 0 or precision is Precision.FP32 else 2
    masters = _FP32 if stage and config.train.master_weights else 0
    return trained * (
        (weights if stage < 3 else 0) + masters + state_bytes(config.optimizer, config.train.master_weights)
    )
