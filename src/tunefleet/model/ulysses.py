"""Ulysses attention: whole sequences for some heads, when each rank holds a shard of their tokens.

Ulysses (Jacobs et al. 2023, https://arxiv.org/abs/2309.14509): an all-to-all before attention gives a rank all
tokens of some heads, another one after it gives back all heads of its own tokens. Every rank computes as much of
a causal sequence as the others do.

DeepSpeed's UlyssesSPAttentionHF drops the attention mask, so that conversations of a packed sequence would see each
other, and takes the place of "sdpa" for every model of the process. This one holds within `split_sequences` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup
from transformers import AttentionInterface, PreTrainedModel

from tunefleet.libraries import transformers_private
from tunefleet.model import document_attention

_NAME = "ulysses"
_groups: list[ProcessGroup] = []


@contextmanager
def split_sequences(model: PreTrainedModel, sp_group: ProcessGroup) -> Iterator[None]:
    """Within, `model` computes this rank's shard of sequences [sequences, length / ranks]. A collective of `sp_group`.

    transformers makes no mask for an attention that it does not know: without one, attention is causal over
    the whole sequence; with a 4-D mask, or the bounds of documents, those are of the whole sequence.
    """
    _groups.append(sp_group)
    try:
        with transformers_private.attention_as(model.config, _NAME):
            yield
    finally:
        _groups.pop()


@dataclass(frozen=True)
class _Heads:
    """What attention asks a layer: here of the heads of this rank."""

    num_key_value_groups: int
    is_causal: bool


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """From [sequences, heads, part, width] of own tokens to [sequences, part, heads, width], their attention.

    They attend over whole sequences.
    """
    sp_group = _groups[-1]
    key, value = (_repeated_heads(heads, sp_group.size()) for heads in (key, value))
    query, key, value = (_whole_sequences(shard, sp_group) for shard in (query, key, value))
    length = query.shape[2]
    if attention_mask is not None and attention_mask.is_floating_point():
        assert attention_mask.shape[-2:] == (length, length), "a mask of a part of the sequences"
    own_heads = _Heads(query.shape[1] // key.shape[1], getattr(module, "is_causal", True))
    output, _ = document_attention.attention(own_heads, query, key, value, attention_mask, **settings)
    return _own_tokens(output, sp_group), None


AttentionInterface.register(_NAME, _attention)


def _repeated_heads(heads: Tensor, ranks: int) -> Tensor:
    """Repeats key or value heads [sequences, heads, part, width] until every rank gets the same number of them.

    With `ranks` a divisor of the query heads, every query head still finds its own key head.
    """
    return heads.repeat_interleave(ranks // gcd(ranks, heads.shape[1]), dim=1)


def _whole_sequences(shard: Tensor, sp_group: ProcessGroup) -> Tensor:
    """[sequences, heads, part, width] of own tokens to [sequences, heads / ranks, length, width] of own heads."""
    sequences, heads, part, width = shard.shape
    sent = shard.reshape(sequences, sp_group.size(), heads // sp_group.size(), part, width)
    return _all_to_all(sent.transpose(0, 1), sp_group).permute(1, 2, 0, 3, 4).flatten(2, 3)


def _own_tokens(output: Tensor, sp_group: ProcessGroup) -> Tensor:
    """[sequences, length, heads / ranks, width] of own heads to [sequences, part, heads, width] of own tokens."""
    sequences, length, heads, width = output.shape
    sent = output.reshape(sequences, sp_group.size(), length // sp_group.size(), heads, width)
    return _all_to_all(sent.transpose(0, 1), sp_group).permute(1, 2, 0, 3, 4).flatten(2, 3)


def _all_to_all(sent: Tensor, sp_group: ProcessGroup) -> Tensor:
    """`sent[i]` goes to rank i of the group; what comes back is what each rank sent here, in their order."""
    received: Tensor = _AllToAll.apply(sent, sp_group)  # type: ignore[no-untyped-call]
    return received


class _AllToAll(torch.autograd.Function):
    """An all-to-all whose backward pass is an all-to-all."""

    @staticmethod
    def forward(ctx: Any, sent: Tensor, sp_group: ProcessGroup) -> Tensor:
        ctx.sp_group = sp_group
        sent = sent.contiguous()
        received = torch.empty_like(sent)
        distributed.all_to_all_single(received, sent, group=sp_group)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _all_to_all(gradients[0], ctx.sp_group), None
