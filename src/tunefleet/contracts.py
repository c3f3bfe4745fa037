"""Contracts of the rooms: the values and protocols that the training loop is written against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

LR_RATIO = "lr_ratio"
"""Key of a group of an optimizer whose learning rate is a multiple of the step's."""
IGNORED = -100
"""The label of a position that is out of the loss (torch.nn.functional.cross_entropy's `ignore_index`)."""


@dataclass(frozen=True)
class MicroBatch:
    """Sequences that are computed at once; every tensor is int64 of shape [sequences, length].

    `labels[i]` is the token to predict at position i (already shifted), or IGNORED where it is out of the loss.
    `positions` restart at 0 in every conversation; `segments` number the conversations of a packed sequence
    (padding is a segment of its own) and are None where each sequence is one conversation.
    Of sequence-parallel ranks, `segments` are those of whole sequences: [sequences, length x ranks].
    `label_index` [loss tokens] numbers the positions with a label, over all sequences; `to` makes it.
    """

    tokens: Tensor
    positions: Tensor
    labels: Tensor
    segments: Tensor | None
    label_index: Tensor | None = None

    @property
    def loss_tokens(self) -> int:
        """The positions with a label."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> MicroBatch:
        """The same on the device that computes; from pinned memory without waiting for it.

        Which positions have a label is found before: a GPU would be waited for to learn how many there are.
        """
        index = (self.labels.flatten() != IGNORED).nonzero()[:, 0]
        pinned = index.pin_memory() if device.type == "cuda" and not index.is_cuda else index
        tensors: dict[str, Any] = {
            name: t.to(device, non_blocking=True)
            for name, t in {**vars(self), "label_index": pinned}.items()
            if t is not None
        }
        return replace(self, **tensors)


@dataclass(frozen=True)
class Refusal:
    """Why an update was not applied: `reason`, as "the loss became nan", or a spike (`train.spike_sigma`)."""

    reason: str
    is_spike: bool = False


UpdateRule = Callable[[float, float], Refusal | None]
"""(mean loss, gradient norm before clipping) of a step, both finite -> why its update must be left out. Collective."""


def any_finite(loss: float, norm: float) -> Refusal | None:
    """The rule that refuses no update whose loss and gradient norm are finite."""
    return None


@dataclass(frozen=True)
class StepResult:
    """One optimizer step, over all ranks: mean loss over `loss_tokens`, norm before clipping.

    `skipped` is whether weights and moments stayed as they were: because of `refusal`, or because fp16 looked for its
    loss scale, where `refusal` is None. `micro_losses` are the sums of token losses of this rank's micro-batches.
    """

    loss: float
    gradient_norm: float
    lr: float
    tokens: int
    loss_tokens: int
    skipped: bool
    seconds: float
    refusal: Refusal | None = None
    micro_losses: tuple[float, ...] = ()
    data_seconds: float = 0.0
    """How long this rank waited for the step's data, which `seconds` does not hold."""
    wall_seconds: float = 0.0
    """From the question whether to go on to the end of the step: `seconds`, `data_seconds` and what is between."""

    @property
    def tokens_per_second(self) -> float:
        """Of all ranks, padding among them, at the pace at which steps follow each other."""
        return self.tokens / max(self.wall_seconds, self.seconds + self.data_seconds)


@dataclass(frozen=True)
class RunState:
    """How far a run is: saved in every checkpoint. `position` counts sequences taken from the data's order.

    `tokens` were trained on; `skipped` steps changed nothing. `refused` updates count against `train.skip_budget`;
    `left_out` are the positions of steps that the run went back before, and whose sequences it takes no more. `recent`
    are (loss, gradient norm) of the last applied steps, where `train.spike_sigma` asks for them.
    """

    step: int = 0
    position: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    skipped: int = 0
    refused: int = 0
    left_out: tuple[int, ...] = ()
    recent: tuple[tuple[float, float], ...] = ()

    def advanced(self, result: StepResult, position: int) -> RunState:
        """The state after one more step."""
        trained = result.refusal is None
        return replace(
            self,
            step=self.step + 1,
            position=position,
            tokens=self.tokens + result.tokens * trained,
            loss_tokens=self.loss_tokens + result.loss_tokens * trained,
            skipped=self.skipped + result.skipped,
            refused=self.refused + (not trained),
        )


class ByteStream(Protocol):
    """Takes bytes, from the first to the last."""

    def write(self, data: bytes | memoryview) -> int:
        """The number of bytes taken, which is all of them."""

    def write_kept(self, data: bytes | memoryview) -> int:
        """The same for memory that stays as it is until all files of the checkpoint are written."""

    def flush(self) -> None:
        """Asked for by `torch.save`."""


class CheckpointFile(Protocol):
    """A file of a checkpoint that is not written yet."""

    @property
    def size(self) -> int:
        """Bytes, at least as many as will be written."""

    def write(self, stream: ByteStream) -> None:
        """Writes all of it."""


class Batches(Protocol):
    """This rank's part of the data, in order."""

    @property
    def position(self) -> int:
        """Rows taken so far by all ranks: the place to resume from."""

    def take(self, count: int) -> Sequence[MicroBatch]:
        """The next `count` micro-batches: one optimizer step. Raises `WorkerFailure`."""

    def close(self) -> None:
        """Ends what works ahead; nothing can be taken any more."""


class Evaluable(Protocol):
    """A model that computes losses and answers."""

    @property
    def model(self) -> nn.Module:
        """The Hugging Face model inside, for generation and export."""

    @property
    def sharded(self) -> bool:
        """Whether copies of the model hold shards of the weights, so that all must compute together."""

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which `model` computes as it does in training."""

    def loss(self, micro_batch: MicroBatch) -> tuple[float, int]:
        """(sum of token losses, loss tokens) of this rank's sequences, without gradients."""


class Engine(Evaluable, Protocol):
    """A model that trains; ZeRO and pipeline differ only behind `train_step`."""

    @property
    def reshardable(self) -> bool:
        """Whether it can restore what another number of processes, or another strategy, saved."""

    def train_step(self, micro_batches: Sequence[MicroBatch], rule: UpdateRule = any_finite) -> StepResult:
        """One optimizer step over all micro-batches of all ranks.

        Its update is left out, on all ranks, where loss or gradient is not finite, or `rule` refuses it.
        """

    def expect_equal_replicas(self) -> None:
        """Raises `ReplicaDrift` where weights that several ranks hold alike differ in a bit. Collective."""

    def shards(self, tag: str) -> Mapping[str, CheckpointFile]:
        """This rank's files of a checkpoint, as `tag`/name: not written, and not to be after the next step.

        Every rank must call it.
        """

    def restore(self, folder: Path, tag: str, step: int) -> None:
        """Reads this rank's shards and resumes after `step`; every rank must call it."""

    def restore_resized(self, folder: Path, tag: str, step: int) -> None:
        """The same, where another number of processes or another strategy saved them, and `reshardable` is true."""

    def weights(self) -> dict[str, Tensor] | None:
        """The whole model's weights on rank 0 and None elsewhere; every rank must call it."""

    def close(self) -> None:
        """Frees everything; every rank must call it, at the end of a run that went well."""


class StageLink(Protocol):
    """The stages of one copy of a pipeline, one after another: what a stage needs to generate with the others."""

    def receive(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Hidden states of the stage before."""

    def send(self, hidden: Tensor) -> None:
        """Hands hidden states to the next stage."""

    def from_last(self, tensor: Tensor) -> Tensor:
        """The last stage's `tensor`, on every stage; the others give one of its shape and dtype."""


class Group(Protocol):
    """The processes of a run, agreeing on small things."""

    @property
    def rank(self) -> int:
        """This process, 0 to size - 1."""

    @property
    def size(self) -> int:
        """Processes of the run."""

    def agree(self, code: int) -> int:
        """The largest `code` of any rank: every rank must call it."""

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums over all ranks: every rank must call it."""

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in rank order: every rank must call it."""

    def barrier(self) -> None:
        """Waits for every rank."""


class Tracker(Protocol):
    """Takes the numbers of a run."""

    def log(self, record: dict[str, Any]) -> None:
        """One record; it has a `step`, and names as `train/loss`."""

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Questions with the model's answers at `step`, one at least, all with the same keys."""

    def rewind(self, step: int) -> None:
        """The run has gone back to `step`: what follows is from after it."""

    def finish(self, summary: dict[str, Any]) -> None:
        """The last call: `state` is how the run ended, `reason` why where it failed."""


StepAct = Callable[[RunState, StepResult], None]
