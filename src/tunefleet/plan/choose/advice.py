"""What would fit, best first: the same run with other settings, each as the words to type."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.train import TrainConfig
from tunefleet.plan.choose import strategies
from tunefleet.plan.choose.auto import foreseen
from tunefleet.plan.estimate.forecast import Forecast
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.layout import Layout

SHOWN = 5
_TILE = 2048  # tokens: as conf/parallel/sequence.yaml advises


@dataclass(frozen=True)
class Advice:
    """Settings that fit: `words` to type, and the run with them. `strategy` is the name of its YAML."""

    words: tuple[str, ...]
    strategy: str
    forecast: Forecast

    @property
    def rank(self) -> tuple[float, int, int]:
        """Faster first, where the speed is known; then what changes less."""
        return (self.forecast.speed.seconds or 0.0, self.forecast.spread.zero_stage, len(self.words))


def advice(plan: Plan, now: Forecast) -> Sequence[Advice]:
    """Up to SHOWN legal runs that fit, fastest first: of each strategy one with checkpointing and one without."""
    best: dict[tuple[str, bool], Advice] = {}
    for one in sorted(_fitting(plan, now), key=lambda one: one.rank):
        best.setdefault((one.strategy, one.forecast.work.checkpointing), one)
    return [*best.values()][:SHOWN]


def _fitting(plan: Plan, now: Forecast) -> Sequence[Advice]:
    """The largest micro-batch that fits with each strategy, its degrees, and checkpointing."""
    found: dict[tuple[str, Spread, bool], Advice] = {}
    for words, config, degrees in _candidates(plan):
        seen = _seen(plan, config, degrees, now) if words else None
        if seen and seen.fits:
            name = config.parallel.name
            found.setdefault((name, seen.spread, seen.work.checkpointing), Advice(words, name, seen))
    return [*found.values()]


def _seen(plan: Plan, config: RunConfig, degrees: Layout, now: Forecast) -> Forecast | None:
    """The forecast of `config`; none where the global batch does not divide so."""
    try:
        return foreseen(config, degrees, plan.sources.architecture, now.machine)
    except ConfigError:
        return None


def _candidates(plan: Plan) -> Iterator[tuple[tuple[str, ...], RunConfig, Layout]]:
    """Legal strategies x checkpointing x ever smaller micro-batches at the same global batch, x the loss in tiles."""
    for said, parallel, degrees in _strategies(plan):
        for words, train in _trains(plan, degrees):
            yield (*said, *words), replace(plan.config, parallel=parallel, train=train), degrees


def _strategies(plan: Plan) -> Iterator[tuple[tuple[str, ...], ParallelConfig, Layout]]:
    """This one first; degrees that are there already stay."""
    now, degrees, architecture = plan.config.parallel, plan.layout, plan.sources.architecture
    yield (), now, degrees
    if degrees.tensor * degrees.pipeline * degrees.sequence > 1:
        return
    divided = strategies.divided(degrees) if degrees.device == "cuda" else ()
    for other in (*strategies.offered(plan.config, degrees, architecture), *divided):
        there = _layout(degrees, other)
        if other != now and strategies.is_legal(replace(plan.config, parallel=other), there, architecture):
            yield strategies.words(other), other, there


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
    train, whole = plan.config.train, plan.batch.total
    here = degrees.data_parallel == plan.layout.data_parallel
    for checkpointing, rows, tile in itertools.product((False, True), _halves(train.micro_batch), _tiles(train)):
        other = replace(train, gradient_checkpointing=checkpointing, micro_batch=rows, loss_tile=tile)
        same = () if here and rows == train.micro_batch else (f"train.global_batch={whole}",)
        yield (*_changed(train, other), *same), replace(other, global_batch=whole)


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
