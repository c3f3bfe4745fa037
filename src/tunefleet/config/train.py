"""Group `train`: batch, length, precision, seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.config.fields import ranged


class Precision(Enum):
    """The dtype of weights and activations; master weights and optimizer states are fp32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"

    @property
    def dtype(self) -> str:
        """Torch's name of it; the plan has settled what `auto` is."""
        return {Precision.FP32: "float32", Precision.BF16: "bfloat16", Precision.FP16: "float16"}[self]


class OnOom(Enum):
    """What follows when memory runs out."""

    STOP = "stop"
    SPLIT = "split"


@dataclass(frozen=True)
class EarlyStoppingConfig:
    """A run that stops where evaluations get no better; it is finished then, with that reason."""

    patience: int | None = ranged(None, at_least=1)
    """Evaluations in a row without a better one, after which the run stops; null trains to the end."""
    metric: str = "loss"
    """What must get better, as `checkpoint.metric`."""
    min_delta: float = ranged(0.0, at_least=0)
    """By how much more than this, in units of the metric."""


@dataclass(frozen=True)
class TrainConfig:
    """The training loop. A sequence is `sequence_length` tokens when packing is on, else one conversation."""

    micro_batch: int = ranged(4, at_least=1, named={"auto": 0})
    """Sequences that one process computes at once; `auto` is the most that fit by the forecast (global_batch stays)."""
    global_batch: int | None = ranged(None, at_least=1)
    """Sequences of one optimizer step over all processes; null is micro_batch x processes."""
    start_from: str | None = None
    """A finished run, by its name or directory, whose trained weights are the first ones of a new run, which has a
    schedule, an optimizer and an order of sequences of its own. Give the model that it was given (docs/runs.md)."""
    epochs: float = ranged(1.0, above=0)
    """Passes over the training data; ignored where `max_steps` is set."""
    max_steps: int | None = ranged(None, at_least=1)
    """Optimizer steps; null takes `epochs`."""
    sequence_length: int = ranged(512, at_least=8)
    """Tokens of a packed sequence, and the most that is kept of one conversation."""
    precision: Precision = Precision.AUTO
    """Dtype of weights and activations; `auto` is bf16, and fp32 on a CPU that does not compute with bf16."""
    master_weights: bool = True
    """bf16 at ZeRO stages 1 to 3: whether fp32 copies of weights are updated. Without them moments are bf16 too, and
    updates much smaller than a weight are lost."""
    clip: float = ranged(1.0, at_least=0)
    """Largest gradient norm; 0 is no clipping."""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    """When a run stops before its last step."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    loss_tile: int | None = ranged(None, at_least=1)
    """Learning tokens whose logits exist at once; null is all of a micro-batch. Less memory, about one more pass
    through the output projection."""
    on_oom: OnOom = OnOom.STOP
    """When memory runs out: `stop`, or `split`: start again from the last checkpoint with half the micro-batch and
    twice the accumulation (the same global batch). Only on one machine, in processes that tunefleet starts."""
    seed: int = ranged(0, at_least=0)
    """Seed of weights, order and dropout; follows the top-level `seed`."""
    threads: int | None = ranged(None, at_least=1)
    """CPU threads of each process; null shares this machine's cores out."""
