"""Plain model: computes without DeepSpeed, in one process, behind the same seam as the engines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import nn

from tunefleet.contracts import MicroBatch


class PlainModel:
    """Evaluates a learner (micro-batch -> sum of token losses) in its own dtype, or autocast to `autocast`."""

    sharded = False

    def __init__(self, learner: nn.Module, autocast: torch.dtype | None = None) -> None:
        self._autocast = autocast
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._learner = learner.to(self._device).eval()

    @property
    def model(self) -> nn.Module:
        """The Hugging Face model inside the learner."""
        return cast(nn.Module, self._learner.model)

    def precision(self) -> AbstractContextManager[Any]:
        """The autocast of stage 0; no context where the weights have the dtype."""
        return torch.autocast(self._device.type, dtype=self._autocast) if self._autocast else nullcontext()

    def loss(self, micro_batch: MicroBatch) -> tuple[float, int]:
        """(sum of token losses, loss tokens)."""
        with torch.no_grad(), self.precision():
            total = self._learner(micro_batch.to(self._device))
        return float(total.item()), micro_batch.loss_tokens


class SingleProcess:
    """The process group of one process."""

    rank = 0
    size = 1

    def agree(self, code: int) -> int:
        """`code`: there is one rank."""
        return code

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The numbers themselves."""
        return list(numbers)

    def gather(self, value: Any) -> list[Any]:
        """The value of the one rank."""
        return [value]

    def barrier(self) -> None:
        """There is one rank."""
