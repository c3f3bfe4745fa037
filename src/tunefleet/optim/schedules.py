"""Schedules: learning rates as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tunefleet.config.optimizer import ScheduleConfig, ScheduleName


@dataclass(frozen=True)
class _Place:
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
    place = _Place(step - warmup, after, warmup, min(decay, after))
    return peak * (config.floor + (1 - config.floor) * _SHAPES[config.name](place, config))


def _cosine(place: _Place, config: ScheduleConfig) -> float:
    """Half a cosine (Loshchilov and Hutter, SGDR, 2017)."""
    return (1 + math.cos(math.pi * place.done)) / 2


def _wsd(place: _Place, config: ScheduleConfig) -> float:
    """Warm-up, stable, decay (Hu et al., MiniCPM, 2024), with the straight decay of Haegele et al., 2024."""
    return min(1.0, max(0, place.after - place.since) / place.decay) if place.decay else 1.0


def _inverse_sqrt(place: _Place, config: ScheduleConfig) -> float:
    """Falls as 1 / sqrt(step), from the end of the warm-up on (Vaswani et al., 2017)."""
    first = max(1, place.warmup)
    return math.sqrt(first / max(first, place.warmup + place.since + 1))


_SHAPES: dict[ScheduleName, Callable[[_Place, ScheduleConfig], float]] = {
    ScheduleName.COSINE: _cosine,
    ScheduleName.LINEAR: lambda place, config: 1 - place.done,
    ScheduleName.POLYNOMIAL: lambda place, config: (1 - place.done) ** config.power,
    ScheduleName.WSD: _wsd,
    ScheduleName.INVERSE_SQRT: _inverse_sqrt,
    ScheduleName.CONSTANT: lambda place, config: 1.0,
}
