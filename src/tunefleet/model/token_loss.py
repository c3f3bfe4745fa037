"""Token loss: the sum of cross entropies at the labels, whose gradient takes the place of the logits.

`torch.nn.functional.cross_entropy` on 16-bit logits keeps 14 bytes for each: the logits, their fp32 copy, its
log-softmax and two fp32 gradients. Here fp32 exists for a few rows at a time, and the gradient is written over the
logits, in their dtype: 2 bytes. What is rounded, and where, is the same: each row is computed in fp32, and its gradient
rounded once to the dtype of the logits, scaled already.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tunefleet.plan.estimate.activations import LOSS_CHUNK


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of -log softmax(logits)[label], an fp32 scalar; 0 where there are no rows.

    `logits` are [tokens, vocabulary], `labels` [tokens], all of them in the loss. The backward pass writes over the
    logits; where another operation needs them after all, autograd refuses the backward pass.
    """
    return cast(Tensor, _TokenLoss.apply(logits, labels))  # type: ignore[no-untyped-call]


class _TokenLoss(torch.autograd.Function):
    """Saves the logits and one fp32 number of each row, the logarithm of its softmax's denominator."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        losses = logits.new_empty(len(labels), dtype=torch.float32)
        log_denominators = torch.empty_like(losses)
        for rows in _chunks(logits):
            chunk, label = logits[rows].float(), labels[rows, None]
            losses[rows] = -torch.log_softmax(chunk, -1).gather(1, label)[:, 0]
            log_denominators[rows] = chunk.gather(1, label)[:, 0] + losses[rows]
        ctx.save_for_backward(logits, labels, log_denominators)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        logits, labels, log_denominators = ctx.saved_tensors
        at_label = torch.full((len(labels), 1), -1.0, device=scale.device)
        for rows in _chunks(logits):
            chunk = logits[rows].float() if logits.dtype is not torch.float32 else logits[rows]
            chunk.sub_(log_denominators[rows, None]).exp_().scatter_add_(1, labels[rows, None], at_label[rows]).mul_(
                scale
            )
            if chunk.dtype is not logits.dtype:
                logits[rows] = chunk
        return logits, None


def _chunks(logits: Tensor) -> Iterator[slice]:
    """The rows whose fp32 copies exist at once."""
    rows = max(1, LOSS_CHUNK[logits.device.type] // max(1, logits.shape[1]))
    return (slice(start, start + rows) for start in range(0, len(logits), rows))
