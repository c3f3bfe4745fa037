"""Strategy check: a strategy's trajectory on this machine, compared with that of a plain torch loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tunefleet.config.train import Precision
from tunefleet.plan.estimate.pipeline_stages import boundaries
from tunefleet.plan.families import tiny
from tunefleet.plan.plan import Plan
from tunefleet.runs.trajectory import Trajectory


@dataclass(frozen=True)
class Tolerance:
    """The largest relative differences: of losses, of gradient norms, of weights (to the largest weight)."""

    losses: float
    norms: float
    weights: float


TOLERANCES = {
    # Rounding of another order of sums; Adam divides by tiny second moments early on, which magnifies it in weights.
    Precision.FP32: Tolerance(1e-5, 5e-5, 1e-4),
    # Weights and activations have 8 bits of mantissa (2^-8 = 0.4 %), and errors of 20 steps add up.
    Precision.BF16: Tolerance(0.03, 0.15, 0.1),
    # 11 bits; the loss scale skips the first steps until it fits.
    Precision.FP16: Tolerance(0.03, 0.15, 0.1),
}


@dataclass(frozen=True)
class Comparison:
    """One quantity of one model, compared over all steps."""

    model: str
    quantity: str
    difference: float
    allowed: float

    @property
    def is_within_tolerance(self) -> bool:
        """Whether it follows the plain loop; a NaN does not."""
        return self.difference <= self.allowed


def tiny_plan(plan: Plan, name: str) -> Plan:
    """The plan with the tiny model of the family `name`."""
    parallel = plan.config.parallel
    shape = tiny.architecture(name, parallel)
    sources = replace(plan.sources, architecture=shape, weights=None)
    return replace(plan, sources=sources, stages=boundaries(shape, parallel.pipeline, parallel.partition))


def compare(name: str, plain: Trajectory, trained: Trajectory, precision: Precision) -> list[Comparison]:
    """Losses, norms and weights of the model `name`: the largest relative difference of each, and what is allowed."""
    allowed = TOLERANCES[precision]
    return [
        Comparison(name, "loss", _largest_relative_difference(plain["losses"], trained["losses"]), allowed.losses),
        Comparison(
            name, "gradient norm", _largest_relative_difference(plain["norms"], trained["norms"]), allowed.norms
        ),
        Comparison(name, "weights", _weight_difference(plain["weights"], trained["weights"]), allowed.weights),
    ]


def _largest_relative_difference(plain: list[float], trained: list[float]) -> float:
    return float(np.max(np.abs(np.asarray(trained) / np.asarray(plain) - 1)))


def _weight_difference(plain: list[float], trained: list[float]) -> float:
    """Relative to the largest weight: many are near zero. Other weights than the plain ones are infinitely far."""
    if len(plain) != len(trained):
        return math.inf
    return float(np.max(np.abs(np.asarray(trained) - np.asarray(plain))) / np.max(np.abs(plain)))
