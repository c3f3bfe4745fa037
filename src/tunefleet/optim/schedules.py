"""How fast weights move at each step: learning rates as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from tunefleet.config.optimizer import ScheduleConfig, ScheduleName


def learning_rate(config: ScheduleConfig, peak: float, step: int, total: int, warmup: int) -> float:
    """The learning rate of optimizer step `step` (the first is 0) of `total`.

    Rises linearly over `warmup` steps (step 0 is at peak / warmup), then follows the shape down to
    `config.floor` x `peak`, reached at the last step. Cosine: Loshchilov and Hutter, SGDR, 2017.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup + 1) / max(1, total - warmup))
    return peak * (config.floor + (1 - config.floor) * _SHAPES[config.name](done))


_SHAPES: dict[ScheduleName, Callable[[float], float]] = {
    ScheduleName.COSINE: lambda done: (1 + math.cos(math.pi * done)) / 2,
    ScheduleName.LINEAR: lambda done: 1 - done,
    ScheduleName.CONSTANT: lambda done: 1.0,
}
