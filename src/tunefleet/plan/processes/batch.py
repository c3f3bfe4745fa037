"""Batch: the sequences of one optimizer step as micro-batch x accumulation x data-parallel."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base.errors import ConfigError
from tunefleet.config.train import TrainConfig


@dataclass(frozen=True)
class Batch:
    """Sequences: each process computes `micro` at once, `accumulation` times a step."""

    micro: int
    accumulation: int
    data_parallel: int

    @property
    def total(self) -> int:
        """Sequences of one optimizer step over all processes."""
        return self.micro * self.accumulation * self.data_parallel

    def __str__(self) -> str:
        return (
            f"{self.total} sequences = {self.micro} micro x {self.accumulation} accumulation "
            f"x {self.data_parallel} data-parallel"
        )


def batch(train: TrainConfig, data_parallel: int) -> Batch:
    """The split of the global batch. Raises `ConfigError`, naming the nearest that work, where it has none."""
    at_once = train.micro_batch * data_parallel
    total = train.global_batch or at_once
    if total % at_once:
        lower, upper = total // at_once * at_once, (total // at_once + 1) * at_once
        nearest = f"{lower} or {upper}" if lower else f"{upper}"
        raise ConfigError(
            f"train.global_batch: {total} is not a multiple of train.micro_batch({train.micro_batch}) "
            f"x data-parallel({data_parallel}) = {at_once}. Use {nearest}."
        )
    return Batch(train.micro_batch, total // at_once, data_parallel)
