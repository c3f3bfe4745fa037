"""Tiled loss: computed without the logits of all its tokens at once.

Tokens go through the output projection in tiles; the logits of a tile are forgotten, and computed again in the
backward pass (Bekman et al. 2025, Arctic Long Sequence Training, https://arxiv.org/abs/2506.13996).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tunefleet.libraries import torch_private
from tunefleet.model.token_loss import token_loss


def tiled_loss(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    index: Tensor,
    labels: Tensor,
    tile: int,
    agree: Callable[[int], int],
) -> Tensor:
    """The sum of token losses of `labels` [tokens], with logits of at most `tile` tokens at once.

    `index` [tokens] numbers their positions over all sequences.

    `agree` turns this rank's number of tiles into that of all ranks: under ZeRO-3 each use of the output projection
    gathers it, so ranks that use it more often than others would wait forever.
    """
    base_output = model.base_model(**inputs)
    hidden = base_output.last_hidden_state.flatten(0, 1).index_select(0, index)
    tiles = max(1, agree(-(-len(labels) // tile)))
    parts = zip(hidden.tensor_split(tiles), labels.tensor_split(tiles), strict=True)
    losses = [
        checkpoint(_loss, model, base_output, *part, use_reentrant=False, preserve_rng_state=False)  # no dropout
        for part in parts
    ]
    return torch.stack(losses).sum()


def _loss(model: PreTrainedModel, base_output: Any, hidden: Tensor, labels: Tensor) -> Tensor:
    """The sum of losses of tokens with the hidden states [tokens, width]."""
    logits = _after_base(model, replace(base_output, last_hidden_state=hidden[None])).logits[0]
    return token_loss(logits, labels)


def _after_base(model: PreTrainedModel, base_output: Any) -> Any:
    """What `model` makes of its base's output: the projection, and what a family does before and after it.

    The copy shares all weights and hooks.
    """
    head = torch_private.with_child(model, model.base_model_prefix, _BaseOutput(base_output))
    return head.forward(input_ids=None, use_cache=False)


class _BaseOutput(nn.Module):
    """Stands for the base of a model, and returns what the base returned before."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self._output = output

    @property
    def decoder(self) -> _BaseOutput:
        """OPT asks the decoder of its base."""
        return self

    def forward(self, *args: Any, **settings: Any) -> Any:
        return self._output
