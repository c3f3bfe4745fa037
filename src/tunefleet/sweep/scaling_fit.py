"""Scaling fit: the loss of finished trials as a power law of the compute that their runs took.

loss = a x compute**-b, with compute = 6 x parameters x tokens in FLOPs (Kaplan et al. 2020, section 2.1,
https://arxiv.org/abs/2001.08361): a line through the logarithms by least squares. There is no term for a loss that no
compute goes below, because three or four sizes cannot tell it.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from tunefleet.sweep.study import Study, Trial, TrialState

_SIZES = 3  # fewer make no curve


@dataclass(frozen=True)
class ScalingFit:
    """`correlation` is that of the logarithms: -1 where the law fits exactly. `trials` is how many it was fitted to."""

    factor: float
    exponent: float
    correlation: float
    trials: int

    def loss(self, compute: float) -> float:
        """The loss that the law expects for `compute` FLOPs."""
        return float(self.factor * compute**-self.exponent)

    def __str__(self) -> str:
        return (
            f"loss = {self.factor:.4g} x compute^-{self.exponent:.3g} over {self.trials} trials "
            f"(r = {self.correlation:.3f}); ten times the compute is {10**-self.exponent:.2f} of the loss"
        )


def scaling_fit(study: Study) -> ScalingFit | None:
    """The fit over the finished trials by their first objective; None where they are not of at least three sizes."""
    finished = [trial for trial in study.in_state(TrialState.FINISHED) if _usable(trial)]
    if len({trial.runs[0].parameters for trial in finished}) < _SIZES:
        return None
    pairs = [(math.log(compute(trial)), math.log(_loss(trial))) for trial in finished]
    xs, ys = zip(*pairs, strict=True)
    slope, intercept = statistics.linear_regression(xs, ys)
    return ScalingFit(math.exp(intercept), -slope, statistics.correlation(xs, ys), len(pairs))


def compute(trial: Trial) -> float:
    """FLOPs of one run of a trial: 6 for each parameter and token."""
    return 6.0 * (trial.runs[0].parameters or 0) * trial.measured["tokens"] / len(trial.runs)


def _usable(trial: Trial) -> bool:
    return bool(
        trial.runs[0].parameters and trial.measured.get("tokens") and trial.result and 0 < _loss(trial) < math.inf
    )


def _loss(trial: Trial) -> float:
    assert trial.result is not None
    return trial.result.means[0]
