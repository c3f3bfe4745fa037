"""Pipeline engine: an optimizer step through the stages of a pipeline, by DeepSpeed's 1F1B schedule."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from tunefleet.base.mode import evaluation_mode
from tunefleet.contracts import MicroBatch, StageLink
from tunefleet.engine import tensor_parallel
from tunefleet.engine.group import ProcessGroup
from tunefleet.engine.step_parts import part
from tunefleet.engine.zero import ZeroEngine
from tunefleet.libraries import deepspeed_private
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.layout import Layout


class Stage(Protocol):
    """What this rank computes of a micro-batch; see `model/stages.py`."""

    is_first: bool
    is_last: bool
    is_tied: bool
    link: StageLink | None

    @property
    def model(self) -> Any:
        """The Hugging Face model, with stand-ins for what other stages hold."""

    @property
    def tied_weight(self) -> nn.Parameter | None:
        """This stage's copy of an embedding that is the head too."""

    def load(self, micro_batches: Sequence[MicroBatch]) -> None:
        """Gives the micro-batches of the next forward passes."""

    def compute(self, batch: MicroBatch, hidden_in: Tensor | None) -> Tensor:
        """Hidden states for the next stage; the last stage gives the sum of token losses."""


class Tied(nn.Embedding):
    """Holds a stage's copy of an embedding that is the head too: DeepSpeed adds the gradients of both up.

    An embedding also where it is the head, so that the optimizer treats both copies alike.
    """

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__(0, weight.shape[1])
        self.weight = weight


def joined(stage: Any, layout: Layout) -> PipelineModule:
    """The pipeline of all ranks' stages, one layer each in DeepSpeed's eyes; every rank must call it."""
    number = layout.stage(distributed.get_rank())
    kind = type(stage)
    layers: list[Any] = [stage if index == number else LayerSpec(kind) for index in range(layout.pipeline)]
    if stage.is_tied:
        ends = [TiedLayerSpec("embedding", Tied, stage.tied_weight, forward_fn=_pass) for _ in range(2)]
        layers = [ends[0], *layers, ends[1]]
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():  # it prints its layers, and broadcasts weights
        return PipelineModule(
            layers,
            topology=tensor_parallel.topology(layout),
            partition_method=f"type:^{kind.__name__}$",  # one of this kind for each rank
            dynamic_shape=True,  # sequences are padded to the longest of their micro-batch
        )


def _pass(tied: nn.Module, value: Tensor) -> Tensor:
    return value


class PipelineEngine(ZeroEngine):
    """The same as `ZeroEngine`, at stage 0 or 1, for a model in stages."""

    def __init__(
        self,
        plan: Plan,
        group: ProcessGroup,
        stage: Stage,
        module: PipelineModule,
        optimizer: Optimizer,
        learning_rate: Callable[[int], float],
    ) -> None:
        module.loss_fn = self._scaled
        super().__init__(plan, group, module, optimizer, learning_rate)
        deepspeed_private.defer_step(self._engine)
        self._stage = stage
        self._link = _StageLink(module.mpu(), group.device)
        self._weight = math.nan
        self._losses: list[Tensor] = []
        stage.link = self._link

    @property
    def model(self) -> nn.Module:
        """The Hugging Face model, with stand-ins for what other stages hold: all stages generate together."""
        return cast(nn.Module, self._stage.model)

    def loss(self, micro_batch: MicroBatch) -> tuple[float, int]:
        """(sum of token losses, loss tokens) of this rank's sequences, from stage to stage; without gradients."""
        batch, model = micro_batch.to(self._group.device), self._stage.model
        with evaluation_mode(model), torch.no_grad(), self.precision():
            width = (*batch.tokens.shape, model.config.hidden_size)
            output = self._stage.compute(
                batch, None if self._stage.is_first else self._link.receive(width, model.dtype)
            )
        if not self._stage.is_last:
            self._link.send(output)
        total = self._link.from_last(output.float() if self._stage.is_last else torch.zeros((), device=output.device))
        return float(total.item()), micro_batch.loss_tokens

    def restore(self, folder: Path, tag: str, step: int) -> None:
        """Reads this rank's shards from folder/tag and resumes after `step`; every rank must call it."""
        with torch.no_grad():  # DeepSpeed broadcasts tied weights
            super().restore(folder, tag, step)

    def _replicas(self) -> dict[str, Tensor]:
        """This rank's copies of the weights of its stage, by name; an embedding that is the head too has one."""
        weights = self._stage.model.named_parameters()
        return self._named(("tied embedding" if self._is_tied(weight) else name, weight) for name, weight in weights)

    def weights(self) -> dict[str, Tensor] | None:
        """The whole model's weights on rank 0, from the stages of the first copy; every rank must call it."""
        weights, tied = self._stage_weights()
        sent = {name: weight for name, weight in weights.items() if name != tied}
        headers = self._group.gather(([_header(name, weight) for name, weight in sent.items()], tied))
        if self._group.rank:
            for weight in sent.values():
                distributed.send(weight.to(self._group.device).contiguous(), 0)
            return None
        gathered = {name: weight.cpu() for name, weight in weights.items()}
        for rank, (tensors, copy) in enumerate(headers[1:], 1):
            gathered |= {
                name: self._received(rank, shape, getattr(torch, dtype)).cpu() for name, shape, dtype in tensors
            }
            if tied and copy:  # one tensor with two names, as in a whole model
                gathered[copy] = gathered[tied]
        return gathered

    def _stage_weights(self) -> tuple[dict[str, Tensor], str | None]:
        """What this rank sends of its stage (of tensor-parallel ranks the first does), and the tied weight's name."""
        if self._plan.layout.data_rank(self._group.rank):
            return {}, None
        state = {name: weight.detach() for name, weight in self._stage.model.state_dict().items()}
        tied = next((name for name, weight in state.items() if self._is_tied(weight)), None)
        return tensor_parallel.gather(state, self._plan, self._group), tied

    def _is_tied(self, weight: Tensor) -> bool:
        tied = self._stage.tied_weight
        return tied is not None and weight.data_ptr() == tied.data_ptr()

    def _received(self, rank: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        weight = torch.empty(shape, dtype=dtype, device=self._group.device)
        distributed.recv(weight, rank)
        return weight

    def _accumulate(self, micro_batches: Sequence[MicroBatch], loss_tokens: int) -> list[float]:
        """Gradients of all micro-batches; the last stage's sums of token losses. The update waits for `_apply`."""
        on_device = [batch.to(self._group.device) for batch in micro_batches]
        self._stage.load(on_device)
        self._weight = self._plan.batch.data_parallel * self._plan.batch.accumulation / loss_tokens
        self._losses.clear()
        with part("forward and backward"):
            self._engine.train_batch(iter([(batch.tokens, None) for batch in on_device]))
        return torch.stack(self._losses).double().tolist() if self._losses else []

    def _total(self, losses: Sequence[float]) -> float:
        """The last stage's, of each rank."""
        return self._group.total([sum(losses)])[0] / self._plan.layout.tensor

    def _scaled(self, loss: Tensor, labels: None) -> Tensor:
        """The last stage's sum of token losses, so that DeepSpeed's averages give the mean over all tokens."""
        if torch.is_grad_enabled():
            self._losses.append(loss.detach())
        return loss * self._weight

    def _apply(self) -> None:
        deepspeed_private.step(self._engine)


class _StageLink:
    """The stages of this copy of the model, over torch's own messages."""

    def __init__(self, grid: Any, device: torch.device) -> None:
        self._previous = grid.stage_to_global(max(0, grid.get_stage_id() - 1))
        last = grid.get_pipe_parallel_world_size() - 1
        self._next = grid.stage_to_global(min(last, grid.get_stage_id() + 1))
        self._last = grid.stage_to_global(last)
        self._group = grid.get_pipe_parallel_group()
        self._device = device

    def receive(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Hidden states of the stage before."""
        hidden = torch.empty(tuple(shape), dtype=dtype, device=self._device)
        distributed.recv(hidden, self._previous)
        return hidden

    def send(self, hidden: Tensor) -> None:
        """Hands hidden states to the next stage."""
        distributed.send(hidden.contiguous(), self._next)

    def from_last(self, tensor: Tensor) -> Tensor:
        """The last stage's `tensor`, on every stage."""
        shared = tensor.contiguous()
        distributed.broadcast(shared, self._last, group=self._group)
        return shared


def _header(name: str, weight: Tensor) -> tuple[str, list[int], str]:
    """What a rank must know of a weight to receive it."""
    return name, list(weight.shape), str(weight.dtype).removeprefix("torch.")
