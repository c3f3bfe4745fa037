"""Objective: the number of a run's metrics that a sweep compares, and which of two is better."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunefleet.config.sweep import Direction

_LOGGED = ("train", "memory", "evaluation")  # groups of metrics.jsonl
_LAST_PART = 5  # a training metric counts by the median of the last 1/5 of its records: one step is noise

Objectives = Mapping[str, Direction]


def metric_key(objective: str, logged: Iterable[str]) -> str:
    """The key among those `logged` in metrics.jsonl: `validation/loss` is short for `evaluation/validation/loss`.

    A name alone, such as `loss`, is that of the first validation split.
    """
    if "/" not in objective:
        split_names = (key for key in logged if key.startswith("evaluation/") and key.endswith(f"/{objective}"))
        return next(split_names, f"evaluation/{objective}")
    return objective if objective.split("/")[0] in _LOGGED else f"evaluation/{objective}"


def evaluated(evaluation: Mapping[str, float], objective: str) -> float | None:
    """The objective by the last evaluation that a status holds, as `SPLIT/loss`; None where it is not of that kind."""
    group, _, name = metric_key(objective, (f"evaluation/{name}" for name in evaluation)).partition("/")
    return evaluation.get(name) if group == "evaluation" else None


def measured(records: Sequence[Mapping[str, Any]], objective: str) -> float | None:
    """The objective of a run by its records so far: the last evaluation, or the median of the last fifth of the steps.

    None where no record has it. It may be NaN.
    """
    key = metric_key(objective, (key for record in records for key in record))
    values = [float(record[key]) for record in records if isinstance(record.get(key), (int, float))]
    if not values:
        return None
    return statistics.median(values[-math.ceil(len(values) / _LAST_PART) :]) if key.startswith("train/") else values[-1]


def costs(means: Sequence[float], objectives: Objectives) -> tuple[float, ...]:
    """The means with signs that make smaller ones better; what is no number is the worst of all."""
    signs = [1 if direction is Direction.MIN else -1 for direction in objectives.values()]
    return tuple(sign * mean if math.isfinite(mean) else math.inf for sign, mean in zip(signs, means, strict=False))


def pareto_front(points: Sequence[tuple[float, ...]]) -> set[int]:
    """The positions of those points that no other is better than in one objective and at least as good in all."""
    front: list[int] = []
    for position in sorted(range(len(points)), key=points.__getitem__):  # none is dominated by a later one
        if not any(_dominates(points[member], points[position]) for member in front):
            front.append(position)
    return set(front)


def _dominates(better: tuple[float, ...], worse: tuple[float, ...]) -> bool:
    return better != worse and all(a <= b for a, b in zip(better, worse, strict=True))
