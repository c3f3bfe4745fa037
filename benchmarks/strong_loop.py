"""Strong loop: packed supervised fine-tuning by hand, as fast as exact arithmetic goes on a CPU, without a framework.

It is the yardstick of `benchmarks/throughput.py`, and shares no code with tunefleet: transformers' model under
autocast, conversations packed to sequences, attention within each conversation alone, logits only at labels, a loss
whose gradient takes their place, torch's fused AdamW, gradients clipped to 1. Freed memory stays in the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from transformers import AttentionInterface

IGNORED = -100
ATTENTION = "strong_loop"


def keep_freed_memory() -> None:
    """glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD: else each step faults its pages in again."""
    with suppress(OSError, AttributeError):
        for setting, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):
            ctypes.CDLL("libc.so.6").mallopt(setting, value)


def register() -> None:
    """Makes `ATTENTION` a name that transformers knows; a `StrongLoop` says what it does."""
    AttentionInterface.register(ATTENTION, lambda *args, **settings: (None, None))


class StrongLoop:
    """Trains `model`, which has `ATTENTION` as its implementation, with a learning rate of 1e-4."""

    def __init__(self, model: Any, autocast: bool = True) -> None:
        self._autocast = autocast
        self._model = model.train()
        AttentionInterface.register(ATTENTION, self._attention)
        self._optimizer = torch.optim.AdamW((w for w in model.parameters() if w.requires_grad), lr=1e-4, fused=True)

    def step(self, micro_batches: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]) -> float:
        """One update with (tokens, positions, labels, segments) [sequences, length]; the mean loss of a label."""
        labelled = sum(int((labels != IGNORED).sum()) for _, _, labels, _ in micro_batches)
        total = 0.0
        for batch in micro_batches:
            loss = self.loss(*batch)
            (loss / labelled).backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        gradients = [w.grad for w in self._model.parameters() if w.grad is not None]
        norm = get_total_norm(gradients)
        if norm > 1:
            clip_grads_with_norm_([w for w in self._model.parameters() if w.grad is not None], 1.0, norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total / labelled

    def loss(self, tokens: Tensor, positions: Tensor, labels: Tensor, segments: Tensor) -> Tensor:
        """The sum of token losses of sequences [sequences, length]."""
        self._group(segments)
        chosen = (labels.flatten() != IGNORED).nonzero()[:, 0]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._autocast):
            base = getattr(self._model, "base_model", self._model)
            hidden = base(input_ids=tokens, position_ids=positions, use_cache=False)[0]
            logits = self._model.get_output_embeddings()(hidden.flatten(0, 1).index_select(0, chosen))
        return Loss.apply(logits, labels.flatten()[chosen])  # type: ignore[no-any-return, no-untyped-call]

    def _attention(self, module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, **settings: Any) -> Any:
        """[sequences, heads, length, width] each; conversations of like length are one batch."""
        gathered = [t.transpose(1, 2).flatten(0, 1).index_select(0, self._gather) for t in (q, k, v)]
        sizes = [n * longest for n, longest in self._shapes]
        outputs: list[Tensor] = []
        for parts in zip(*(torch.split(t, sizes) for t in gathered), strict=True):
            queries, keys, values = (part.unflatten(0, self._shapes[len(outputs)]).transpose(1, 2) for part in parts)
            attended = functional.scaled_dot_product_attention(
                queries,
                keys,
                values,
                is_causal=True,
                scale=settings.get("scaling"),
                enable_gqa=q.shape[1] != k.shape[1],
            )
            outputs.append(attended.transpose(1, 2).flatten(0, 1))
        output = torch.cat(outputs).index_select(0, self._scatter)
        return output.view(q.shape[0], q.shape[2], *output.shape[1:]), None

    def _group(self, segments: Tensor) -> None:
        tables = _groups_of_like_length(segments.numpy())
        gather = np.concatenate([places.ravel() for places, _ in tables])
        valid = np.concatenate([valid.ravel() for _, valid in tables])
        scatter = np.empty(segments.numel(), dtype=np.int64)
        scatter[gather[valid]] = np.flatnonzero(valid)
        self._gather, self._scatter = torch.from_numpy(gather), torch.from_numpy(scatter)
        self._shapes = [places.shape for places, _ in tables]


def _groups_of_like_length(segments: Any, waste: float = 1.15) -> list[tuple[Any, Any]]:
    """Places of the tokens of conversations [conversations, longest], and which of them are no filling."""
    flat = (segments + np.arange(len(segments))[:, None] * (segments.max() + 1)).ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    lengths = np.diff(np.append(starts, len(flat)))
    groups: list[list[int]] = []
    for number in np.argsort(lengths):
        if groups and lengths[number] <= waste * lengths[groups[-1][0]] + 4:
            groups[-1].append(int(number))
        else:
            groups.append([int(number)])
    tables = []
    for group in groups:
        steps = np.arange(lengths[group].max())
        valid = steps < lengths[group][:, None]
        tables.append((np.where(valid, starts[group][:, None] + steps, starts[group][:, None]), valid))
    return tables


class Loss(torch.autograd.Function):
    """The sum of cross entropies; the gradient is written over the logits, four rows at a time."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits [tokens, vocabulary], labels [tokens]."""
        logs = torch.cat([torch.logsumexp(part.float(), -1) for part in torch.split(logits, 4)])
        ctx.save_for_backward(logits, labels, logs)
        return (logs - logits.gather(1, labels[:, None])[:, 0].float()).sum()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        """The gradient of the logits, in their memory."""
        logits, labels, logs = ctx.saved_tensors
        for part, log, label in zip(*(torch.split(t, 4) for t in (logits, logs, labels)), strict=True):
            gradient = part.float().sub_(log[:, None]).exp_()
            gradient[torch.arange(len(label)), label] -= 1
            part.copy_(gradient.mul_(scale))
        return logits, None
