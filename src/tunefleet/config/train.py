"""Group `train`: batch, length, precision, seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.base.units import Cadence, steps
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


class OnRefusal(Enum):
    """What follows an update that was refused: the run ends, leaves it out, or goes back and takes other sequences."""

    STOP = "stop"
    SKIP = "skip"
    REWIND = "rewind"


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
    neftune: float | None = ranged(None, above=0)
    """NEFTune (Jain et al., 2023): uniform noise on embeddings in training, at most this number over the root of
    (tokens of a sequence x size of an embedding): 5 is usual; null adds none."""
    loss_tile: int | None = ranged(None, at_least=1)
    """Learning tokens whose logits exist at once; null is all of a micro-batch. Less memory, about one more pass
    through the output projection."""
    on_oom: OnOom = OnOom.STOP
    """When memory runs out: `stop`, or `split`: start again from the last checkpoint with half the micro-batch and
    twice the accumulation (the same global batch). Only on one machine, in processes that tunefleet starts."""
    on_non_finite: OnRefusal = OnRefusal.STOP
    """When the loss or the gradient becomes NaN or infinite, on any process: `stop`; `skip` the update, which is a step
    all the same; or `rewind`: go back to the last checkpoint and leave the sequences of that step out from then on.
    Weights are never updated by it."""
    skip_budget: int = ranged(10, at_least=0)
    """Updates that a run may skip or go back before; then it stops."""
    spike_sigma: float | None = ranged(None, above=0)
    """Refuse an update whose loss or gradient norm is more than so many standard deviations above the mean of the last
    `spike_window` steps: 6 in OLMo 2 (SkipStepOptimizer of OLMo-core). null looks for no spikes."""
    spike_window: int = ranged(128, at_least=4)
    """Steps that a spike is compared with; until half of them are there, nothing is a spike."""
    on_spike: OnRefusal = OnRefusal.SKIP
    """What follows a spike; PaLM went back and left out the sequences around it (Chowdhery et al., 2022, 5.1)."""
    check_replicas: Cadence | None = Cadence((steps(500),))
    """Between comparisons of the weights that several processes hold alike, bit by bit: `500` (steps), `1 hour`, `10%`;
    each save begins with one. null compares nothing."""
    profile: str | None = None
    """Steps that torch's profiler watches on rank 0: `10..13`. A trace and a table of where the time goes are written
    into `profile` of the run directory."""
    callbacks: tuple[str, ...] = ()
    """Functions of your own project, `my_project.callbacks:watch`, which your settings file allows; called after every
    step on every rank (docs/your-project.md)."""
    seed: int = ranged(0, at_least=0)
    """Seed of weights, order and dropout; follows the top-level `seed`."""
    threads: int | None = ranged(None, at_least=1)
    """CPU threads of each process; null shares this machine's cores out."""
