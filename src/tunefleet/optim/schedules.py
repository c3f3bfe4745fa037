"""Schedules: learning rates as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tunefleet.config.optimizer import ScheduleConfig, ScheduleName


@dataclass(frozen=True)
class _Progress:
    """Where a step stands, in optimizer steps: `since` are those between the warm-up and this one."""

    since: int
    after: int
    warmup: int
    decay: int

    @property
    def done(self) -> float:
        """Share of the steps after the warm-up that lie before this one: 1 is first reached after the last step."""
        return min(1.0, self.since / self.after)


def learning_rate(config: ScheduleConfig, peak: float, step: int, total: int, warmup: int, decay: int = 0) -> float:
    """The learning rate of optimizer step `step` (the first is 0) of `total`.

    Rises linearly over `warmup` steps (step 0 is at peak / warmup), then follows the shape from `peak` down to
    `config.floor` x `peak`, which it reaches after the last step, so that every step trains; `wsd` falls over the
    last `decay` steps only, and `inverse_sqrt` falls towards the floor without reaching it.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    after = max(1, total - warmup)
    progress = _Progress(step - warmup, after, warmup, min(decay, after))
    return peak * (config.floor + (1 - config.floor) * _SHAPES[config.name](progress, config))


def _cosine(progress: _Progress, config: ScheduleConfig) -> float:
    """Half a cosine (Loshchilov and Hutter, SGDR, 2017)."""
    return (1 + math.cos(math.pi * progress.done)) / 2


def _wsd(progress: _Progress, config: ScheduleConfig) -> float:
    """Warm-up, stable, decay (Hu et al., MiniCPM, 2024), with the straight decay of Haegele et al., 2024."""
    return min(1.0, max(0, progress.after - progress.since) / progress.decay) if progress.decay else 1.0


def _inverse_sqrt(progress: _Progress, config: ScheduleConfig) -> float:
    """Falls as 1 / sqrt(step), from the end of the warm-up on (Vaswani et al., 2017)."""
    first = max(1, progress.warmup)
    return math.sqrt(first / max(first, progress.warmup + progress.since + 1))


_SHAPES: dict[ScheduleName, Callable[[_Progress, ScheduleConfig], float]] = {
    ScheduleName.COSINE: _cosine,
    ScheduleName.LINEAR: lambda progress, config: 1 - progress.done,
    ScheduleName.POLYNOMIAL: lambda progress, config: (1 - progress.done) ** config.power,
    ScheduleName.WSD: _wsd,
    ScheduleName.INVERSE_SQRT: _inverse_sqrt,
    ScheduleName.CONSTANT: lambda progress, config: 1.0,
}
