"""Median rule: which running trials are behind the others at the same step.

Source: the median stopping rule of Golovin et al. 2017 (https://dl.acm.org/doi/10.1145/3097983.3098043), as Optuna's
MedianPruner has it: the best value that a trial has reached so far against the median of the others' values at its
last step. It is written out here because rebuilding Optuna's study for it at each look would cost more than the rule.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from tunefleet.config.sweep import Direction

Curve = Mapping[int, float]
"""{step: value} of a trial, as it was evaluated."""


def behind(
    running: Mapping[int, Curve], finished: Mapping[int, Curve], direction: Direction, startup_trials: int
) -> dict[int, str]:
    """{trial: reason} of the running trials that are to be pruned.

    `running` and `finished` hold the curve of each trial by its number. Nothing is pruned before `startup_trials` have
    finished, nor where no finished trial was evaluated at the same step. A value that is no number is the worst.
    """
    if len(finished) < startup_trials:
        return {}
    compared = {number: _comparison(curve, finished, direction) for number, curve in running.items() if curve}
    return {number: reason for number, reason in compared.items() if reason}


def _comparison(curve: Curve, finished: Mapping[int, Curve], direction: Direction) -> str:
    """Why a trial with this curve is behind; empty where it is not."""
    step, sign = max(curve), 1 if direction is Direction.MIN else -1
    numbers = [sign * value for value in curve.values() if not math.isnan(value)]
    if not numbers:
        return f"step {step}: no value is a number"
    peers = [sign * curve[step] for curve in finished.values() if not math.isnan(curve.get(step, math.nan))]
    if not peers or min(numbers) <= (median := statistics.median(peers)):
        return ""
    return f"step {step}: best {sign * min(numbers):g}, median of {len(peers)} finished trials {sign * median:g}"
