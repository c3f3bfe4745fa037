"""How does attention see whole rows, when each process holds a part of their tokens?

Ulysses (Jacobs et al. 2023, https://arxiv.org/abs/2309.14509): an all-to-all before attention gives a process all
tokens of some heads, another one after it gives back all heads of its own tokens. Every process computes as much of
a causal row as the others do.

DeepSpeed's UlyssesSPAttentionHF drops the attention mask, so that conversations of a packed row would see each other,
and takes the place of "sdpa" for every model of the process. This one is in force within `shared_rows` only.
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
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tunefleet.libraries import transformers_private

_NAME = "ulysses"
_sharing: list[ProcessGroup] = []


@contextmanager
def shared_rows(model: PreTrainedModel, peers: ProcessGroup) -> Iterator[None]:
    """Within, `model` computes this process's part of rows [rows, length / peers]; all peers must call it together.

    transformers makes no mask for an attention that it does not know: without one, attention is causal over
    the whole row; with a 4-D mask, that is of the whole row.
    """
    _sharing.append(peers)
    try:
        with transformers_private.attention_as(model.config, _NAME):
            yield
    finally:
        _sharing.pop()


@dataclass(frozen=True)
class _Heads:
    """What transformers' SDPA asks an attention layer: here of this process's heads."""

    num_key_value_groups: int
    is_causal: bool


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """From [rows, heads, part, width] of own tokens to their attention over whole rows, [rows, part, heads, width]."""
    peers = _sharing[-1]
    key, value = (_enough_heads(given, peers.size()) for given in (key, value))
    query, key, value = (_whole_rows(given, peers) for given in (query, key, value))
    length = query.shape[2]
    assert attention_mask is None or attention_mask.shape[-2:] == (length, length), "a mask of a part of the rows"
    heads = _Heads(query.shape[1] // key.shape[1], getattr(module, "is_causal", True))
    seen, _ = sdpa_attention_forward(heads, query, key, value, attention_mask, **settings)
    return _own_tokens(seen, peers), None


AttentionInterface.register(_NAME, _attention)


def _enough_heads(heads: Tensor, peers: int) -> Tensor:
    """Repeats key or value heads [rows, heads, part, width] until every process gets the same number of them.

    With `peers` a divisor of the query heads, every query head still finds its own key head.
    """
    return heads.repeat_interleave(peers // gcd(peers, heads.shape[1]), dim=1)


def _whole_rows(own: Tensor, peers: ProcessGroup) -> Tensor:
    """[rows, heads, part, width] of own tokens to [rows, heads / peers, length, width] of own heads."""
    rows, heads, part, width = own.shape
    sent = own.reshape(rows, peers.size(), heads // peers.size(), part, width)
    return _exchange(sent.transpose(0, 1), peers).permute(1, 2, 0, 3, 4).flatten(2, 3)


def _own_tokens(seen: Tensor, peers: ProcessGroup) -> Tensor:
    """[rows, length, heads / peers, width] of own heads to [rows, part, heads, width] of own tokens."""
    rows, length, heads, width = seen.shape
    sent = seen.reshape(rows, peers.size(), length // peers.size(), heads, width)
    return _exchange(sent.transpose(0, 1), peers).permute(1, 2, 0, 3, 4).flatten(2, 3)


def _exchange(sent: Tensor, peers: ProcessGroup) -> Tensor:
    """`sent[i]` goes to peer i; what comes back is what each peer sent here, in their order."""
    got: Tensor = _AllToAll.apply(sent, peers)  # type: ignore[no-untyped-call]
    return got


class _AllToAll(torch.autograd.Function):
    """The exchange moves numbers about, and does it backwards the same way."""

    @staticmethod
    def forward(ctx: Any, sent: Tensor, peers: ProcessGroup) -> Tensor:
        ctx.peers = peers
        sent = sent.contiguous()
        got = torch.empty_like(sent)
        distributed.all_to_all_single(got, sent, group=peers)
        return got

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _exchange(gradients[0], ctx.peers), None
