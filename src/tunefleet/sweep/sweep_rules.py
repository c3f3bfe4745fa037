"""Rules of a sweep: samplers, pruners, objectives and limits that cannot be combined."""

from __future__ import annotations

from collections.abc import Iterator

from tunefleet.config.sweep import PrunerName, SamplerName, SweepConfig
from tunefleet.sweep.dimension import Interval, Steps
from tunefleet.sweep.space import Space

LARGEST_GRID = 1_000_000
_LEARNING = (SamplerName.TPE, SamplerName.GAUSSIAN_PROCESS, SamplerName.CMA_ES)
NO_POINT_LEFT = "sweep.filter: leaves no point of the space. Change an expression, or widen sweep.space."


def complaints(sweep: SweepConfig, space: Space) -> Iterator[str]:
    """What cannot work, each with the next move."""
    yield from _sampler(sweep, space)
    yield from _limits(sweep)
    yield from _objectives(sweep)
    yield from _replicates(sweep, space)


def _sampler(sweep: SweepConfig, space: Space) -> Iterator[str]:
    name = f"sweep.sampler.name={sweep.sampler.name.value}"
    if sweep.sampler.name is SamplerName.GRID:
        for axis in space.axes:
            if isinstance(axis.dimension, Interval):
                yield (
                    f"sweep.space.{axis.keys[0]}: an interval has no end of values for {name}. Type "
                    "range(start,stop,step) or a list of values, or take sweep.sampler.name=random."
                )
        if (space.size or 0) > LARGEST_GRID:
            yield f"{name}: {space.size:,} points at most. Take sweep.sampler.name=random and sweep.trials."
        elif space.size and space.filters and not space.grid():
            yield NO_POINT_LEFT
    elif sweep.sampler.name is SamplerName.CMA_ES and not any(
        isinstance(axis.dimension, Interval | Steps) for axis in space.axes
    ):
        yield f"{name}: moves in numbers, and the space holds none but lists of values. Take sweep.sampler.name=tpe."


def _limits(sweep: SweepConfig) -> Iterator[str]:
    sampler, trials = sweep.sampler, sweep.trials
    name = f"sweep.sampler.name={sampler.name.value}"
    if trials is None and sampler.name is not SamplerName.GRID:
        yield f"sweep.trials: missing: {name} has no end of points by itself. Type sweep.trials=20."
    if trials and sampler.name in _LEARNING and sampler.startup_trials >= trials:
        yield (
            f"sweep.sampler.startup_trials={sampler.startup_trials}: all {trials} trials would be drawn at random, and "
            f"{name} would look at no result. Type a smaller number, or more sweep.trials."
        )
    if trials and sweep.pruner.name is PrunerName.MEDIAN and sweep.pruner.startup_trials >= trials:
        yield (
            f"sweep.pruner.startup_trials={sweep.pruner.startup_trials}: none of {trials} trials would be pruned. Type "
            "a smaller number, or more sweep.trials."
        )


def _objectives(sweep: SweepConfig) -> Iterator[str]:
    if not sweep.objective:
        yield "sweep.objective: empty: nothing says which trial is better. Type {loss: min}."
    metrics = [metric.removeprefix("evaluation/") for metric in sweep.objective]
    for metric in sorted({metric for metric in metrics if metrics.count(metric) > 1}):
        yield f"sweep.objective: {metric} is there twice, with and without evaluation/. Leave one out."
    if len(sweep.objective) > 1 and sweep.pruner.name is not PrunerName.NONE:
        yield (
            f"sweep.pruner.name={sweep.pruner.name.value}: needs one objective to tell which trial is behind, and "
            f"there are {len(sweep.objective)}. Leave one in sweep.objective, or take sweep.pruner.name=none."
        )
    if len(sweep.objective) > 1 and sweep.sampler.name is SamplerName.CMA_ES:
        yield (
            f"sweep.sampler.name=cma_es: takes one objective, and there are {len(sweep.objective)}. Leave one in "
            "sweep.objective, or take sweep.sampler.name=tpe."
        )


def _replicates(sweep: SweepConfig, space: Space) -> Iterator[str]:
    doubled = sorted({seed for seed in sweep.seeds if sweep.seeds.count(seed) > 1})
    if doubled:
        yield f"sweep.seeds: {', '.join(map(str, doubled))} is there twice. Name each seed once."
    if {"seed", "train.seed"} & set(space.keys):
        yield "seed: seeds are not searched over: the best would be the luckiest. Type sweep.seeds=[1,2,3]."
    elif sweep.seeds and any(override.startswith("seed=") for override in space.common):
        yield "seed: each run of a trial has its own of sweep.seeds. Leave seed=, or type sweep.seeds=[]."
