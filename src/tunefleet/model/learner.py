"""What a forward pass computes: the sum of token losses, with logits only where a label is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional
from transformers import PreTrainedModel

from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.model.tiles import tiled_loss
from tunefleet.model.ulysses import shared_rows


class Learner(nn.Module):
    """A causal language model that takes a micro-batch and returns the sum of its token losses (fp32).

    `peers` are processes that share rows: each calls it with its own part of them, and gets the loss of that.
    `tile` is how many tokens' logits exist at once; `agree` makes ranks compute equally many tiles.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        peers: ProcessGroup | None = None,
        tile: int | None = None,
        agree: Callable[[int], int] = int,
    ) -> None:
        super().__init__()
        self._peers = peers
        self._tile = tile
        self._agree = agree
        self.model = model
        self._windows = _windows(model.config)
        _let_alibi_see_segments(model.base_model)
        if hasattr(model.config, "output_router_logits"):
            model.config.output_router_logits = False  # their own loss is not trained, and takes no 4-D mask
        if peers and model.is_gradient_checkpointing:  # what is computed again is computed outside of `forward`
            again = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), self._shared())}
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=again)
        self._labelled: Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._only_labelled)

    def forward(self, batch: MicroBatch) -> Tensor:
        """The sum over the labelled positions of -log p(label), a scalar; 0 where there is none."""
        with self._shared():
            if self._tile:
                return tiled_loss(self.model, self._inputs(batch), batch.labels, self._tile, self._agree)
            self._labelled = batch.labels != IGNORED
            try:
                logits = self.outputs(batch)
                return functional.cross_entropy(logits.float(), batch.labels[self._labelled], reduction="sum")
            finally:
                self._labelled = None

    def outputs(self, batch: MicroBatch) -> Tensor:
        """What the model's output projection gives: logits [rows, length, vocabulary]."""
        return cast(Tensor, self.model(**self._inputs(batch)).logits)

    def _inputs(self, batch: MicroBatch) -> dict[str, Any]:
        return {
            "input_ids": batch.tokens,
            "position_ids": batch.positions,
            "attention_mask": self._mask(batch),
            "use_cache": False,
        }

    def _shared(self) -> AbstractContextManager[None]:
        return shared_rows(self.model, self._peers) if self._peers else nullcontext()

    def _mask(self, batch: MicroBatch) -> Tensor | dict[str, Tensor] | None:
        """None is plain causal attention: padding lies on the right, where no label looks."""
        segments = batch.segments
        if segments is None and self._peers and any(self._windows.values()):
            segments = torch.ones_like(batch.tokens).tile(self._peers.size())  # the model would mask its part alone
        if segments is None:
            return None
        dtype = self._mask_dtype()
        masks = {kind: segment_mask(segments, dtype, window) for kind, window in self._windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _mask_dtype(self) -> torch.dtype:
        device = next(self.model.parameters()).device.type
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        return cast(torch.dtype, self.model.dtype)

    def _only_labelled(self, head: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Cuts the hidden states [rows, length, width] to [labelled, width] before the output projection.

        A hook on the model's own head, so that what a family does after it (scaling, soft caps) stays.
        Outside of `forward`, as in generation, it does nothing.
        """
        return None if self._labelled is None else (inputs[0][self._labelled], *inputs[1:])


def segment_mask(segments: Tensor, dtype: torch.dtype, window: int | None = None) -> Tensor:
    """The additive attention mask [rows, 1, length, length] for packed rows: 0 where a token may look.

    A token sees itself and earlier tokens of its own segment, within `window` where there is one.
    Padding is a segment of its own, so that no row of the mask is empty (softmax would give NaN).
    Float, not bool: eager attention adds the mask, and a bool one is silently wrong there.
    """
    length = segments.shape[1]
    place = torch.arange(length, device=segments.device)
    visible = (place[:, None] >= place[None, :]) & (segments[:, :, None] == segments[:, None, :])
    if window is not None and window < length:
        visible &= place[:, None] - place[None, :] < window
    mask = torch.zeros(visible.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]


def _windows(config: Any) -> dict[str, int | None]:
    """The attention window of each kind of layer: Qwen2 may mix full and sliding ones."""
    used = getattr(config, "use_sliding_window", True)
    window = getattr(config, "sliding_window", None) if used else None
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    return {kind: window if kind == "sliding_attention" else None for kind in sorted(kinds)}


def _let_alibi_see_segments(base: nn.Module) -> None:
    """Lets BLOOM take a 4-D mask: it counts how far away a key is (ALiBi) in a 2-D mask only.

    A key's place is one less than the tokens that it sees, so places restart in every segment. Softmax
    forgets a constant, and distances within a segment are all that remains; rounding is as in a row of its own.
    """
    straight = getattr(base, "build_alibi_tensor", None)
    if straight is None:
        return

    def restarting(mask: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
        """The bias of every key [rows * heads, 1, length] under a mask of two or four dimensions."""
        if mask.ndim == 2:
            return cast(Tensor, straight(mask, heads, dtype))
        places = (mask[:, 0] == 0).sum(-1) - 1
        bias: Tensor = straight(torch.ones_like(places), heads, dtype)
        return bias.gather(-1, places.repeat_interleave(heads, 0)[:, None])

    base.build_alibi_tensor = restarting  # type: ignore[assignment]
