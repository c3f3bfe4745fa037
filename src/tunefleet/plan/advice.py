"""What would fit, best first: the same run with other settings, each as the words to type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunefleet.plan.families import Architecture
from tunefleet.plan.forecast import Forecast, forecast
from tunefleet.plan.spread import Spread
from tunefleet.plan.work import Work

SHOWN = 5


@dataclass(frozen=True)
class Strategy:
    """A strategy that may be advised: its name below conf/parallel, and what it changes of a spread."""

    name: str
    zero_stage: int


STRATEGIES = (Strategy("ddp", 0), Strategy("zero1", 1), Strategy("zero2", 2), Strategy("zero3", 3))
"""From the simplest to the one that takes least memory."""


@dataclass(frozen=True)
class Advice:
    """Settings that fit: `words` to type, and the run with them."""

    words: tuple[str, ...]
    forecast: Forecast

    @property
    def rank(self) -> tuple[float, int, int]:
        """Faster first, where the speed is known; then what changes less."""
        return (self.forecast.speed.seconds or 0.0, self.forecast.spread.zero_stage, len(self.words))


def advice(architecture: Architecture, now: Forecast) -> Sequence[Advice]:
    """Up to SHOWN runs that fit, fastest first. Only one for each strategy and checkpointing: the largest micro-batch.

    Raises ValueError for a family that cannot be counted.
    """
    found: dict[tuple[int, bool], Advice] = {}
    for words, other, task in _candidates(now):
        key = other.zero_stage, task.checkpointing
        if key not in found and words:
            seen = forecast(architecture, other, task, now.machine, now.on_gpu, now.processes_here)
            if seen.fits:
                found[key] = Advice(words, seen)
    return sorted(found.values(), key=lambda one: one.rank)[:SHOWN]


def _candidates(now: Forecast) -> Iterator[tuple[tuple[str, ...], Spread, Work]]:
    """Strategies x checkpointing x ever smaller micro-batches at the same global batch."""
    for parallel, other in _strategies(now.spread):
        for checkpointing in (False, True):
            recomputing = () if checkpointing == now.work.checkpointing else (_checkpointing(checkpointing),)
            for rows in _halves(now.work.rows):
                smaller = () if rows == now.work.rows else (f"train.micro_batch={rows}",)
                accumulation = now.work.accumulation * now.work.rows // rows
                task = replace(now.work, rows=rows, accumulation=accumulation, checkpointing=checkpointing)
                yield (*parallel, *recomputing, *smaller, *_global(now, smaller)), other, task


def _strategies(now: Spread) -> Iterator[tuple[tuple[str, ...], Spread]]:
    yield (), now
    if now.tensor == now.pipeline == now.sequence == 1:
        for one in STRATEGIES:
            if one.zero_stage != now.zero_stage:
                yield (f"parallel={one.name}",), replace(now, zero_stage=one.zero_stage)


def _checkpointing(on: bool) -> str:
    return f"train.gradient_checkpointing={str(on).lower()}"


def _halves(rows: int) -> Iterator[int]:
    """`rows` and its halves, as long as they divide it."""
    yield rows
    while rows % 2 == 0:
        rows //= 2
        yield rows


def _global(now: Forecast, smaller: tuple[str, ...]) -> tuple[str, ...]:
    """A smaller micro-batch must not change the rows of a step."""
    rows = now.work.rows * now.work.accumulation * now.spread.data_parallel
    return (f"train.global_batch={rows}",) if smaller else ()
