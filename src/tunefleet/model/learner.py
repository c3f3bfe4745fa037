"""Learner: a forward pass to the sum of token losses, with logits only where a label is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from transformers import PreTrainedModel

from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.model import document_attention
from tunefleet.model.tiled_loss import tiled_loss
from tunefleet.model.token_loss import token_loss
from tunefleet.model.ulysses import split_sequences


class Learner(nn.Module):
    """A causal language model that takes a micro-batch and returns the sum of its token losses (fp32).

    `sp_group` are sequence-parallel ranks: each calls it with its shard of the sequences, and gets the loss of that.
    `tile` is how many tokens' logits exist at once; `agree` makes ranks compute equally many tiles.
    `by_document` lets conversations attend without a mask, where the family allows it (`plan/families/by_document.py`).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        sp_group: ProcessGroup | None = None,
        tile: int | None = None,
        agree: Callable[[int], int] = int,
        by_document: bool = False,
    ) -> None:
        super().__init__()
        self._by_document = by_document
        self._sp_group = sp_group
        self._tile = tile
        self._agree = agree
        self.model = model
        self._windows = _windows(model.config)
        _let_alibi_see_segments(model.base_model)
        if hasattr(model.config, "output_router_logits"):
            model.config.output_router_logits = False  # their own loss is not trained, and takes no 4-D mask
        if (sp_group or by_document) and model.is_gradient_checkpointing:  # computed again outside of `forward`
            recomputed = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), self._attention())}
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=recomputed)
        self._label_index: Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._only_loss_tokens)

    def forward(self, batch: MicroBatch) -> Tensor:
        """The sum over the positions that have a label of -log p(label), a scalar; 0 where there is none."""
        with self._attention():
            index = label_index(batch)
            labels = batch.labels.flatten()[index]
            if self._tile:
                return tiled_loss(self.model, self._inputs(batch), index, labels, self._tile, self._agree)
            self._label_index = index
            try:
                return token_loss(self.outputs(batch), labels)
            finally:
                self._label_index = None

    def outputs(self, batch: MicroBatch) -> Tensor:
        """What the model's output projection gives: logits [sequences, length, vocabulary]."""
        with self._attention():
            return cast(Tensor, self.model(**self._inputs(batch)).logits)

    def _inputs(self, batch: MicroBatch) -> dict[str, Any]:
        return {
            "input_ids": batch.tokens,
            "position_ids": batch.positions,
            "attention_mask": self._mask(batch),
            "use_cache": False,
        }

    def _attention(self) -> AbstractContextManager[None]:
        if self._sp_group:
            return split_sequences(self.model, self._sp_group)
        return document_attention.by_document(self.model) if self._by_document else nullcontext()

    def _mask(self, batch: MicroBatch) -> Tensor | dict[str, Tensor] | None:
        """None is plain causal attention: padding lies on the right, where no label looks."""
        segments = batch.segments
        if self._by_document and document_attention.can_compute(batch.tokens.device, self.mask_dtype()):
            bounds = document_attention.bounds(self._whole_rows(batch) if segments is None else segments)
            windows = [window for window in self._windows.values() if window is not None]
            if not windows or document_attention.longest(bounds) <= min(windows):
                return bounds
        if segments is None and any(self._windows.values()) and (self._sp_group or self._by_document):
            segments = self._whole_rows(batch)  # the model would mask its shard alone, or nothing
        if segments is None:
            return None
        dtype = self.mask_dtype()
        masks = {layer_type: segment_mask(segments, dtype, window) for layer_type, window in self._windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _whole_rows(self, batch: MicroBatch) -> Tensor:
        """Segments of rows [sequences, length] that are one conversation each; of all ranks that share them."""
        return torch.zeros_like(batch.tokens).tile(self._sp_group.size() if self._sp_group else 1)

    def mask_dtype(self) -> torch.dtype:
        """The dtype in which attention adds the mask: autocast's, or the weights'."""
        device = next(self.model.parameters()).device.type
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        return cast(torch.dtype, self.model.dtype)

    def _only_loss_tokens(self, head: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Cuts the hidden states [sequences, length, width] to [loss tokens, width] before the output projection.

        A hook on the model's own head, so that what a family does after it (scaling, soft caps) stays.
        Outside of `forward`, as in generation, it does nothing.
        """
        if self._label_index is None:
            return None
        return (inputs[0].flatten(0, 1).index_select(0, self._label_index), *inputs[1:])


def label_index(batch: MicroBatch) -> Tensor:
    """The numbers of the positions with a label [loss tokens], over all sequences of `batch`."""
    return (batch.labels.flatten() != IGNORED).nonzero()[:, 0] if batch.label_index is None else batch.label_index


def segment_mask(segments: Tensor, dtype: torch.dtype, window: int | None = None) -> Tensor:
    """The additive attention mask [sequences, 1, length, length] for packed sequences: 0 where a token may look.

    A token sees itself and earlier tokens of its own segment, within `window` where there is one.
    Padding is a segment of its own, so that no row of the mask is empty (softmax would give NaN).
    Float, not bool: eager attention adds the mask, and a bool one is silently wrong there.
    """
    length = segments.shape[1]
    position = torch.arange(length, device=segments.device)
    visible = (position[:, None] >= position[None, :]) & (segments[:, :, None] == segments[:, None, :])
    if window is not None and window < length:
        visible &= position[:, None] - position[None, :] < window
    mask = torch.zeros(visible.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def _windows(config: Any) -> dict[str, int | None]:
    """The attention window of each type of layer: Qwen2 may mix full and sliding ones."""
    used = getattr(config, "use_sliding_window", True)
    window = getattr(config, "sliding_window", None) if used else None
    layer_types = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    return {name: window if name == "sliding_attention" else None for name in sorted(layer_types)}


def _let_alibi_see_segments(base: nn.Module) -> None:
    """Lets BLOOM take a 4-D mask: it counts how far away a key is (ALiBi) in a 2-D mask only.

    A key's position is one less than the tokens that it sees, so positions restart in every segment. Softmax
    forgets a constant, and distances within a segment are all that remains; rounding is as in a sequence of its own.
    """
    original = getattr(base, "build_alibi_tensor", None)
    if original is None:
        return

    def restarting(mask: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
        """The bias of every key [sequences * heads, 1, length] under a mask of two or four dimensions."""
        if mask.ndim == 2:
            return cast(Tensor, original(mask, heads, dtype))
        positions = (mask[:, 0] == 0).sum(-1) - 1
        bias: Tensor = original(torch.ones_like(positions), heads, dtype)
        return bias.gather(-1, positions.repeat_interleave(heads, 0)[:, None])

    base.build_alibi_tensor = restarting  # type: ignore[assignment]
