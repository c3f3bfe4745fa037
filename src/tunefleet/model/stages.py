"""Stage of a pipeline: the model itself, with stand-ins in the place of what other stages hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from tunefleet.contracts import MicroBatch, StageLink
from tunefleet.model.learner import Learner
from tunefleet.plan.families.family import StageModules
from tunefleet.plan.families.registry import family_of


class Stage(nn.Module):
    """The blocks [first, end) of a model; the first stage has the embeddings besides, the last one norm and head.

    It is the whole model of transformers with stand-ins for what other stages hold. So masks, positions and rotary
    embeddings come from the family's own code and this rank's own micro-batch; only hidden states travel.
    The names of its weights are those of the whole model.

    The caller of `compute` sends hidden states on. When `model` generates, the stand-ins do so over `link`.
    `tile` is how many tokens' logits the last stage has at once, `by_document` how conversations attend.
    """

    def __init__(
        self, model: PreTrainedModel, first: int, end: int, tile: int | None = None, by_document: bool = False
    ) -> None:
        super().__init__()
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        self.is_first, self.is_last = first == 0, end == len(_blocks(model))
        self.is_tied = head.weight is embedding.weight
        self.link: StageLink | None = None
        self._vocab_rows = head.weight.shape[0]
        self._micro_batches: deque[MicroBatch] = deque()
        self._in_compute = False
        self._hidden_in: Tensor | None = None
        self._drop_blocks(model, first, end)
        if not self.is_first:
            self._drop_embeddings(model)
        if self.is_last:
            head.register_forward_hook(lambda module, inputs, logits: self._broadcast_logits(logits))
        else:
            self._drop_head(model)
        self.learner = Learner(model, tile=tile, by_document=by_document)

    @property
    def model(self) -> PreTrainedModel:
        """The model with its stand-ins."""
        return cast(PreTrainedModel, self.learner.model)

    @property
    def tied_weight(self) -> nn.Parameter | None:
        """This stage's copy of an embedding that is the head too; None in between, and where it is not."""
        if not self.is_tied or not (self.is_first or self.is_last):
            return None
        holder = self.model.get_input_embeddings() if self.is_first else self.model.get_output_embeddings()
        return cast(nn.Parameter, holder.weight)

    def load(self, micro_batches: Sequence[MicroBatch]) -> None:
        """Gives the micro-batches of the next calls, in their order: every stage has the same ones."""
        self._micro_batches.extend(micro_batches)

    def forward(self, hidden_in: Tensor) -> Tensor:
        """`compute` for the next micro-batch that was loaded; DeepSpeed gives tokens to the first stage."""
        return self.compute(self._micro_batches.popleft(), None if self.is_first else hidden_in)

    def compute(self, batch: MicroBatch, hidden_in: Tensor | None) -> Tensor:
        """Hidden states [sequences, length, width] for the next stage; the last stage gives the sum of token losses.

        `hidden_in` are the hidden states of the stage before, None in the first one.
        """
        assert hidden_in is None or hidden_in.shape[:2] == batch.tokens.shape, "stages compute different micro-batches"
        self._in_compute, self._hidden_in = True, hidden_in
        try:
            return cast(Tensor, self.learner(batch) if self.is_last else self.learner.outputs(batch))
        finally:
            self._in_compute, self._hidden_in = False, None

    def _drop_blocks(self, model: PreTrainedModel, first: int, end: int) -> None:
        blocks = _blocks(model)
        replacements = {first - 1: self._receive_previous, end: self._send_next}
        for index in {*range(len(blocks))} - {*range(first, end)}:
            blocks[index] = AbsentBlock(index, replacements.get(index, _identity))

    def _drop_embeddings(self, model: PreTrainedModel) -> None:
        names = _modules(model)
        model.set_input_embeddings(StandIn(self._placeholder))
        _replace(model, names.before_blocks, _identity)
        _replace(model, (names.positions,) if names.positions else (), lambda positions: torch.zeros(()))

    def _drop_head(self, model: PreTrainedModel) -> None:
        _replace(model, _modules(model).after_blocks, _identity)
        model.set_output_embeddings(StandIn(self._broadcast_logits))

    def _placeholder(self, tokens: Tensor) -> Tensor:
        """In the place of embeddings: zeros that take no memory, until the hidden states arrive."""
        zero = torch.zeros((), dtype=self.model.dtype, device=tokens.device)
        return zero.expand(*tokens.shape, self.model.config.hidden_size)

    def _receive_previous(self, placeholder: Tensor) -> Tensor:
        """In the place of the block before this stage."""
        if self._in_compute:
            return cast(Tensor, self._hidden_in)
        return self._stage_link().receive(placeholder.shape, placeholder.dtype)

    def _send_next(self, hidden: Tensor) -> Tensor:
        """In the place of the block after this stage."""
        if not self._in_compute:
            self._stage_link().send(hidden)
        return hidden

    def _broadcast_logits(self, output: Tensor) -> Tensor:
        """In the place of the head, and after it: every stage chooses the next token from the same logits."""
        if self._in_compute or self.model.training:  # where tiles are computed again, no other stage computes
            return output
        shape = (*output.shape[:-1], self._vocab_rows)
        logits = output.float() if self.is_last else output.new_empty(shape, dtype=torch.float32)
        return self._stage_link().from_last(logits)

    def _stage_link(self) -> StageLink:
        assert self.link is not None, "the engine joins the stages before anything is generated"
        assert not self.model.training, "stages generate together in evaluation mode only"
        return self.link


class StandIn(nn.Module):
    """In the place of a module that another stage holds: `replacement` on its first argument."""

    def __init__(self, replacement: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._replacement = replacement

    def forward(self, value: Tensor, *args: Any, **settings: Any) -> Tensor:
        """`replacement(value)`, whatever else the module would take."""
        return self._replacement(value)


class AbsentBlock(StandIn):
    """In the place of the block number `index`: keeps the length of its part of the cache, where positions start."""

    def __init__(self, index: int, replacement: Callable[[Tensor], Tensor]) -> None:
        super().__init__(replacement)
        self._index = index

    def forward(self, value: Tensor, *args: Any, **settings: Any) -> Tensor:
        """`replacement(hidden states)`; a cache among the other arguments gets a number for each token."""
        for cache in (*args, *settings.values()):
            if isinstance(cache, Cache):
                placeholder = value.new_zeros(value.shape[0], 1, value.shape[1], 1)
                cache.update(placeholder, placeholder, self._index)
        return self._replacement(value)


def _identity(value: Tensor) -> Tensor:
    return value


def _blocks(model: PreTrainedModel) -> nn.ModuleList:
    return cast(nn.ModuleList, model.get_submodule(family_of(model.config.model_type).blocks))


def _modules(model: PreTrainedModel) -> StageModules:
    """What only the first or only the last stage needs; what is not named there is in every stage."""
    modules = family_of(model.config.model_type).pipeline
    assert modules, f"the plan refuses stages of the family {model.config.model_type}"
    return modules


def _replace(model: PreTrainedModel, names: Sequence[str], replacement: Callable[[Tensor], Tensor]) -> None:
    """Puts stand-ins in the place of `names`, where the model has them: some families leave them None."""
    for name in names:
        parent, _, attribute = name.rpartition(".")
        holder = model.base_model.get_submodule(parent)
        if getattr(holder, attribute) is not None:
            setattr(holder, attribute, StandIn(replacement))
