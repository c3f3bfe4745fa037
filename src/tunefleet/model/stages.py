"""What a stage of a pipeline computes: the model itself, with stand-ins in the place of what other stages hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from tunefleet.contracts import Line, MicroBatch
from tunefleet.model.learner import Learner
from tunefleet.plan.families.family import StageModules
from tunefleet.plan.families.registry import family_of


class Stage(nn.Module):
    """The blocks [first, end) of a model; the first stage has the embeddings besides, the last one norm and head.

    It is the whole model of transformers with stand-ins for what other stages hold. So masks, positions and rotary
    embeddings come from the family's own code and this rank's own micro-batch; only hidden states travel.
    The names of its weights are those of the whole model.

    The caller of `compute` hands hidden states on. When `model` generates, the stand-ins do so over `line`.
    `tile` is how many tokens' logits the last stage has at once.
    """

    def __init__(self, model: PreTrainedModel, first: int, end: int, tile: int | None = None) -> None:
        super().__init__()
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        self.is_first, self.is_last = first == 0, end == len(_blocks(model))
        self.is_tied = head.weight is embedding.weight
        self.line: Line | None = None
        self._vocabulary = head.weight.shape[0]
        self._rows: deque[MicroBatch] = deque()
        self._handed = False
        self._arrived: Tensor | None = None
        self._leave_blocks(model, first, end)
        if not self.is_first:
            self._leave_embeddings(model)
        if self.is_last:
            head.register_forward_hook(lambda module, inputs, logits: self._share(logits))
        else:
            self._leave_head(model)
        self.learner = Learner(model, tile=tile)

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
        self._rows.extend(micro_batches)

    def forward(self, arrived: Tensor) -> Tensor:
        """`compute` for the next micro-batch that was loaded; DeepSpeed gives tokens to the first stage."""
        return self.compute(self._rows.popleft(), None if self.is_first else arrived)

    def compute(self, batch: MicroBatch, arrived: Tensor | None) -> Tensor:
        """Hidden states [rows, length, width] for the next stage; the last stage gives the sum of token losses.

        `arrived` are the hidden states of the stage before, None in the first one.
        """
        assert arrived is None or arrived.shape[:2] == batch.tokens.shape, "stages compute different micro-batches"
        self._handed, self._arrived = True, arrived
        try:
            return cast(Tensor, self.learner(batch) if self.is_last else self.learner.outputs(batch))
        finally:
            self._handed, self._arrived = False, None

    def _leave_blocks(self, model: PreTrainedModel, first: int, end: int) -> None:
        blocks = _blocks(model)
        acts = {first - 1: self._arrive, end: self._depart}
        for place in {*range(len(blocks))} - {*range(first, end)}:
            blocks[place] = AbsentBlock(place, acts.get(place, _same))

    def _leave_embeddings(self, model: PreTrainedModel) -> None:
        names = _modules(model)
        model.set_input_embeddings(StandIn(self._nothing))
        _replace(model, names.before, _same)
        _replace(model, (names.positions,) if names.positions else (), lambda places: torch.zeros(()))

    def _leave_head(self, model: PreTrainedModel) -> None:
        _replace(model, _modules(model).after, _same)
        model.set_output_embeddings(StandIn(self._share))

    def _nothing(self, tokens: Tensor) -> Tensor:
        """In the place of embeddings: zeros that take no memory, until the hidden states arrive."""
        zero = torch.zeros((), dtype=self.model.dtype, device=tokens.device)
        return zero.expand(*tokens.shape, self.model.config.hidden_size)

    def _arrive(self, nothing: Tensor) -> Tensor:
        """In the place of the block before this stage."""
        return cast(Tensor, self._arrived) if self._handed else self._neighbours().receive(nothing.shape, nothing.dtype)

    def _depart(self, hidden: Tensor) -> Tensor:
        """In the place of the block behind this stage."""
        if not self._handed:
            self._neighbours().send(hidden)
        return hidden

    def _share(self, output: Tensor) -> Tensor:
        """In the place of the head, and behind it: every stage chooses the next token from the same logits."""
        if self._handed or self.model.training:  # where tiles are computed again, nobody else computes
            return output
        shape = (*output.shape[:-1], self._vocabulary)
        logits = output.float() if self.is_last else output.new_empty(shape, dtype=torch.float32)
        return self._neighbours().from_last(logits)

    def _neighbours(self) -> Line:
        assert self.line is not None, "the engine joins the stages before anything is generated"
        assert not self.model.training, "stages generate together in evaluation mode only"
        return self.line


class StandIn(nn.Module):
    """In the place of a module that another stage holds: `act` on its first argument."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._act = act

    def forward(self, value: Tensor, *others: Any, **named: Any) -> Tensor:
        """`act(value)`, whatever else the module would take."""
        return self._act(value)


class AbsentBlock(StandIn):
    """In the place of the block number `place`: keeps the length of its part of the cache, from which places count."""

    def __init__(self, place: int, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__(act)
        self._place = place

    def forward(self, value: Tensor, *others: Any, **named: Any) -> Tensor:
        """`act(hidden states)`; a cache among the other arguments gets a number for each token."""
        for cache in (*others, *named.values()):
            if isinstance(cache, Cache):
                passed = value.new_zeros(value.shape[0], 1, value.shape[1], 1)
                cache.update(passed, passed, self._place)
        return self._act(value)


def _same(value: Tensor) -> Tensor:
    return value


def _blocks(model: PreTrainedModel) -> nn.ModuleList:
    return cast(nn.ModuleList, model.get_submodule(family_of(model.config.model_type).blocks))


def _modules(model: PreTrainedModel) -> StageModules:
    """What only the first or only the last stage needs; what is not named there is in every stage."""
    modules = family_of(model.config.model_type).pipeline
    assert modules, f"the plan refuses stages of the family {model.config.model_type}"
    return modules


def _replace(model: PreTrainedModel, names: Sequence[str], act: Callable[[Tensor], Tensor]) -> None:
    """Puts stand-ins in the place of `names`, where the model has them: some families leave them None."""
    for name in names:
        parent, _, own = name.rpartition(".")
        holder = model.base_model.get_submodule(parent)
        if getattr(holder, own) is not None:
            setattr(holder, own, StandIn(act))
