"""Spikes: a step whose loss or gradient norm stands far above those of the last steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

from tunefleet.contracts import Group, Refusal, RunState, StepResult


class Spikes:
    """The rule of OLMo-core's SkipStepOptimizer: more than `sigma` standard deviations above the mean.

    Of the last `window` applied steps, once half of them are there; None is no rule. They are part of the run's state,
    so that a run that resumes finds the same spikes.
    """

    def __init__(self, sigma: float | None, window: int, group: Group) -> None:
        self._sigma = sigma
        self._window = window
        self._group = group
        self._recent: tuple[tuple[float, float], ...] = ()

    def resume(self, state: RunState) -> None:
        """Compares with the steps of `state` from now on."""
        self._recent = state.recent

    def refusal(self, loss: float, norm: float) -> Refusal | None:
        """Why the update of a step must be left out; None where it is no spike. All ranks agree. Collective."""
        if self._sigma is None:
            return None
        reason = self._reason(loss, norm)
        if not self._group.agree(int(bool(reason))):
            return None
        return Refusal(reason or "the loss spiked on another process", is_spike=True)

    def remember(self, state: RunState, result: StepResult) -> RunState:
        """`state` with an applied step among those that the next one is compared with."""
        if self._sigma is None or result.skipped:
            return state
        self._recent = (*self._recent, (result.loss, result.gradient_norm))[-self._window :]
        return replace(state, recent=self._recent)

    def _reason(self, loss: float, norm: float) -> str:
        if len(self._recent) < self._window // 2:
            return ""
        names = ("loss", "gradient norm")
        for name, value, earlier in zip(names, (loss, norm), zip(*self._recent, strict=True), strict=True):
            if (deviations := _deviations(value, earlier)) > (self._sigma or math.inf):
                return f"the {name} spiked to {value:.4g}, {deviations:.1f} standard deviations above its mean"
        return ""


def _deviations(value: float, earlier: Sequence[float]) -> float:
    """How many standard deviations `value` is above the mean of `earlier`; infinite above values that are all equal."""
    distance, deviation = value - fmean(earlier), stdev(earlier)
    if not deviation:
        return math.inf if distance > 0 else 0.0
    return distance / deviation
