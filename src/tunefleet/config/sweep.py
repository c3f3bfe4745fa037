"""Key `sweep`: a search over settings of runs, as a file of the group `sweeps` holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tunefleet.config.fields import ranged


class SamplerName(Enum):
    """Who chooses the next point of the space."""

    GRID = "grid"
    RANDOM = "random"
    QUASI_RANDOM = "quasi_random"
    TPE = "tpe"
    GAUSSIAN_PROCESS = "gaussian_process"
    CMA_ES = "cma_es"


class PrunerName(Enum):
    """Who ends a trial before its last step."""

    NONE = "none"
    MEDIAN = "median"
    SUCCESSIVE_HALVING = "successive_halving"
    ASHA = "asha"
    HYPERBAND = "hyperband"


class Direction(Enum):
    """Which values of an objective are better."""

    MIN = "min"
    MAX = "max"


class Invalid(Enum):
    """What becomes of a point that the plan refuses, or that does not fit."""

    REFUSE = "refuse"
    LEAVE_OUT = "leave_out"


class Losers(Enum):
    """What is left of a trial that was pruned, or that others beat."""

    KEEP = "keep"
    DROP_CHECKPOINTS = "drop_checkpoints"


@dataclass(frozen=True)
class SamplerConfig:
    """How points are chosen."""

    name: SamplerName = SamplerName.GRID
    """grid draws every combination; random and quasi_random (Sobol) look at no result; the others learn from them."""
    seed: int = ranged(0, at_least=0)
    """The same seed and the same results draw the same points."""
    startup_trials: int = ranged(10, at_least=0)
    """tpe, gaussian_process, cma_es: trials that are drawn at random before the first result is looked at."""


@dataclass(frozen=True)
class PrunerConfig:
    """When a trial ends early. A rung is a number of steps of the trial's own, full-length schedule."""

    name: PrunerName = PrunerName.NONE
    """median: below the median of the others. The others keep the best 1/`reduction` of the trials at each rung."""
    reduction: int = ranged(3, at_least=2)
    """Rung k of K ends after 1/reduction**(K - k) of the steps; the best 1/reduction of its trials go on."""
    rungs: int = ranged(3, at_least=2)
    """Number of rungs; the last one is the whole run."""
    startup_trials: int = ranged(4, at_least=1)
    """median: trials that must have finished before one is pruned."""


@dataclass(frozen=True)
class SweepConfig:
    """A search: its card, its space, who chooses and who prunes, and its limits."""

    name: str | None = None
    """Name of the sweep and its folder; null takes the file's, with the beginning of a hash of what is searched."""
    question: str = ""
    """Card: what the sweep answers."""
    command: str = ""
    """Card: what is typed."""
    cost: str = ""
    """Card: time on a named machine."""
    expected: str = ""
    """Card: the answer to expect, with its tolerance."""
    space: dict[str, str] = field(default_factory=dict)
    """{key: values} in Hydra's grammar: `1e-5,1e-4`, `choice(a,b)`, `range(2,9,2)`, `interval(0,1)`,
    `int(interval(1,8))`, `tag(log,interval(1e-5,1e-2))`. What is typed replaces the same key."""
    paired: dict[str, dict[str, str]] = field(default_factory=dict)
    """{name: {key: values}}: values that move together, the first with the first, and so on."""
    conditional: dict[str, dict[str, str]] = field(default_factory=dict)
    """{"adapter=lora": {key: values}}: keys that are there only where another has that value."""
    filter: tuple[str, ...] = ()
    """Expressions over settings that every point must satisfy, such as `optimizer.lr * train.max_steps < 1`."""
    fits: str | None = None
    """A machine, as `tunefleet plan --machine` takes it, on which every point must fit by its plan."""
    invalid: Invalid = Invalid.REFUSE
    """Points that are refused by the plan or do not fit: the sweep is refused too, or they are left out."""
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()
    objective: dict[str, Direction] = field(default_factory=lambda: {"loss": Direction.MIN})
    """{metric: min or max}, as metrics.jsonl has it (`evaluation/` may be left out); of several, the Pareto front. A
    name alone, such as `loss` or `exact_match`, is that of the first validation split."""
    seeds: tuple[int, ...] = ()
    """Replicates of every trial; their mean counts. Seeds are not searched over."""
    trials: int | None = ranged(None, at_least=1)
    """Trials in all, whatever was stopped and started again; null is the whole grid."""
    gpu_hours: float | None = ranged(None, above=0)
    """No further trial begins once so many are used (process-hours where there are no GPUs)."""
    in_flight: int | None = ranged(None, at_least=1)
    """Runs that are queued or running at once; null is what this machine has room for, or no limit on SLURM."""
    max_failures: int | None = ranged(None, at_least=0)
    """No further trial begins once more have failed; null is no limit."""
    max_failure_share: float = ranged(0.5, above=0, at_most=1)
    """The same as a share of the trials that have ended, from the fifth on."""
    losers: Losers = Losers.KEEP
    """drop_checkpoints removes those of pruned trials, and of finished ones but the best."""
    confirm: bool = False
    """Begins a sweep that is larger than `confirm_above`."""
    confirm_above: int = ranged(200, at_least=1)
    """Runs above which `sweep.confirm=true` is asked for."""
    dry_run: bool = False
    """Plan, print, and begin nothing; as `--dry-run`."""
