"""Groups `optimizer` and `schedule`: how weights are updated, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.base.units import Duration, percent
from tunefleet.config.fields import ranged


class OptimizerName(Enum):
    """The update rule."""

    ADAMW = "adamw"
    ADAM = "adam"
    ADAMW_8BIT = "adamw_8bit"
    ADAFACTOR = "adafactor"
    LION = "lion"
    MUON = "muon"
    ADAGRAD = "adagrad"
    SGD = "sgd"


class CpuKernel(Enum):
    """What computes an Adam whose states are in host memory."""

    AUTO = "auto"
    DEEPSPEED = "deepspeed"
    TORCH = "torch"


class ScheduleName(Enum):
    """The shape of the learning rate after warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"
    WSD = "wsd"
    POLYNOMIAL = "polynomial"
    INVERSE_SQRT = "inverse_sqrt"


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its constants."""

    name: OptimizerName = OptimizerName.ADAMW
    """The update rule."""
    lr: float = ranged(2e-5, above=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.95)
    """adamw, adam, adamw_8bit, lion, and muon outside its matrices: decay rates of the moments, each in [0, 1)."""
    eps: float = ranged(1e-8, above=0)
    """The same ones without lion, and adagrad: added to the denominator."""
    momentum: float = ranged(0.0, at_least=0, below=1)
    """sgd, muon: share of the last update that is kept."""
    weight_decay: float = ranged(0.0, at_least=0)
    """Decoupled, or L2 for adam, adagrad and sgd; never applied to biases and norms (one-dimensional weights)."""
    decay_embeddings: bool = False
    """Whether weight decay applies to token and position embeddings too."""
    cpu_kernel: CpuKernel = CpuKernel.AUTO
    """adamw and adam with offloaded states: `deepspeed` is C++ that is built once, in about a minute; `auto` takes it
    where there is a C++ compiler."""


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the steps."""

    name: ScheduleName = ScheduleName.COSINE
    """The shape after warm-up."""
    warmup: Duration = percent(3)
    """Optimizer steps spent rising from 0 to `optimizer.lr`: `100` (steps) or `3%` (of all steps)."""
    floor: float = ranged(0.0, at_least=0, at_most=1)
    """The learning rate at the end, as a share of `optimizer.lr`; inverse_sqrt falls towards it."""
    decay: Duration = percent(10)
    """wsd: optimizer steps spent falling at the end: `100` (steps) or `10%` (of all steps)."""
    power: float = ranged(2.0, above=0)
    """polynomial: the exponent; 1 is linear."""
