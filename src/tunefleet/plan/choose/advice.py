"""Advice: what would fit, best first: the same run with other settings, each as the overrides to type."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.train import TrainConfig
from tunefleet.plan.choose import strategies
from tunefleet.plan.choose.auto import estimate
from tunefleet.plan.choose.calibration import with_factors
from tunefleet.plan.estimate.forecast import Forecast
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.layout import Layout

SHOWN = 5
_TILE = 2048  # tokens: as conf/parallel/sequence.yaml advises


@dataclass(frozen=True)
class Advice:
    """Settings that fit: `overrides` to type, and the run with them. `strategy` is the name of its YAML."""

    overrides: tuple[str, ...]
    strategy: str
    forecast: Forecast

    @property
    def rank(self) -> tuple[float, int, int]:
        """Faster first, where the speed is known; then what changes less."""
        return (self.forecast.speed.seconds or 0.0, self.forecast.spread.zero_stage, len(self.overrides))


def advice(plan: Plan, forecast: Forecast) -> Sequence[Advice]:
    """Up to SHOWN legal runs that fit, fastest first: of each strategy one with checkpointing and one without."""
    best: dict[tuple[str, bool], Advice] = {}
    for option in sorted(_fitting(plan, forecast), key=lambda option: option.rank):
        best.setdefault((option.strategy, option.forecast.work.checkpointing), option)
    return [*best.values()][:SHOWN]


def _fitting(plan: Plan, like: Forecast) -> Sequence[Advice]:
    """The largest micro-batch that fits with each strategy, its degrees, and checkpointing."""
    options: dict[tuple[str, Spread, bool], Advice] = {}
    for overrides, config, degrees in _candidates(plan):
        forecast = _forecast(plan, config, degrees, like) if overrides else None
        if forecast and forecast.fits:
            name = config.parallel.name
            key = (name, forecast.spread, forecast.work.checkpointing)
            options.setdefault(key, Advice(overrides, name, forecast))
    return [*options.values()]


def _forecast(plan: Plan, config: RunConfig, degrees: Layout, like: Forecast) -> Forecast | None:
    """The forecast of `config` on the machine of `like`, and as calibrated; none where the batch does not divide so."""
    try:
        return with_factors(estimate(config, degrees, plan.sources.architecture, like.machine), like.factors)
    except ConfigError:
        return None


def _candidates(plan: Plan) -> Iterator[tuple[tuple[str, ...], RunConfig, Layout]]:
    """Legal strategies x checkpointing x ever smaller micro-batches at the same global batch, x the loss in tiles."""
    for strategy, parallel, degrees in _strategies(plan):
        for changes, train in _trains(plan, degrees):
            yield (*strategy, *changes), replace(plan.config, parallel=parallel, train=train), degrees


def _strategies(plan: Plan) -> Iterator[tuple[tuple[str, ...], ParallelConfig, Layout]]:
    """This one first; degrees that are set already stay."""
    current, degrees, architecture = plan.config.parallel, plan.layout, plan.sources.architecture
    yield (), current, degrees
    if degrees.tensor * degrees.pipeline * degrees.sequence > 1:
        return
    splits = strategies.splitting(degrees) if degrees.device == "cuda" else ()
    for candidate in (*strategies.offered(plan.config, degrees, architecture), *splits):
        layout = _layout(degrees, candidate)
        config = replace(plan.config, parallel=candidate)
        if candidate != current and strategies.is_legal(config, layout, architecture):
            yield strategies.overrides(candidate), candidate, layout


def _layout(degrees: Layout, parallel: ParallelConfig) -> Layout:
    one_copy = parallel.tensor * parallel.pipeline * parallel.sequence
    return replace(
        degrees,
        data_parallel=degrees.world_size // one_copy,
        tensor=parallel.tensor,
        pipeline=parallel.pipeline,
        sequence=parallel.sequence,
    )


def _trains(plan: Plan, degrees: Layout) -> Iterator[tuple[tuple[str, ...], TrainConfig]]:
    """Other ways to compute the rows of a step, whose number no advice may change."""
    train, global_batch = plan.config.train, plan.batch.total
    keeps_split = degrees.data_parallel == plan.layout.data_parallel
    for checkpointing, rows, tile in itertools.product((False, True), _halves(train.micro_batch), _tiles(train)):
        changed = replace(train, gradient_checkpointing=checkpointing, micro_batch=rows, loss_tile=tile)
        kept_total = () if keeps_split and rows == train.micro_batch else (f"train.global_batch={global_batch}",)
        yield (*_changed(train, changed), *kept_total), replace(changed, global_batch=global_batch)


def _tiles(train: TrainConfig) -> list[int | None]:
    return [train.loss_tile] if train.loss_tile else [None, _TILE]


def _changed(old: TrainConfig, new: TrainConfig) -> Iterator[str]:
    if new.gradient_checkpointing != old.gradient_checkpointing:
        yield f"train.gradient_checkpointing={str(new.gradient_checkpointing).lower()}"
    if new.micro_batch != old.micro_batch:
        yield f"train.micro_batch={new.micro_batch}"
    if new.loss_tile != old.loss_tile:
        yield f"train.loss_tile={new.loss_tile}"


def _halves(rows: int) -> Iterator[int]:
    """`rows` and its halves, as long as they divide it."""
    yield rows
    while rows % 2 == 0:
        rows //= 2
        yield rows
