"""What would fit, best first: the same run with other settings, each as the words to type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.plan import tensor
from tunefleet.plan.families import Architecture
from tunefleet.plan.forecast import Forecast, forecast
from tunefleet.plan.spread import Spread, with_strategy
from tunefleet.plan.work import Work

SHOWN = 5


STRATEGIES = (
    ParallelConfig("ddp", 0),
    ParallelConfig("zero1", 1),
    ParallelConfig("zero2", 2),
    ParallelConfig("zero3", 3),
    ParallelConfig("zero2_offload", 2, offload_optimizer=Place.CPU),
    ParallelConfig("zero3_offload", 3, offload_optimizer=Place.CPU, offload_parameters=Place.CPU),
)
"""What may be advised, from the simplest on; each is a file below conf/parallel."""


def offered(work: Work, on_gpu: bool) -> list[ParallelConfig]:
    """Those of STRATEGIES that save something here: on a CPU the host's memory is the device's."""
    legal = on_gpu and work.offloadable
    return [one for one in STRATEGIES if legal or one.offload_optimizer is Place.NONE]


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
    found: dict[tuple[Spread, bool], Advice] = {}
    for words, other, task in _candidates(architecture, now):
        key = other, task.checkpointing
        if key not in found and words:
            seen = forecast(architecture, other, task, now.machine, now.on_gpu, now.processes_here)
            if seen.fits:
                found[key] = Advice(words, seen)
    return sorted(found.values(), key=lambda one: one.rank)[:SHOWN]


def _candidates(architecture: Architecture, now: Forecast) -> Iterator[tuple[tuple[str, ...], Spread, Work]]:
    """Strategies x checkpointing x ever smaller micro-batches at the same global batch."""
    for parallel, other in [*_strategies(now), *_divided(architecture, now)]:
        for checkpointing in (False, True):
            recomputing = () if checkpointing == now.work.checkpointing else (_checkpointing(checkpointing),)
            for rows in _halves(now.work.rows):
                smaller = () if rows == now.work.rows else (f"train.micro_batch={rows}",)
                whole = _rows_of_a_step(now)
                accumulation = whole // (rows * other.data_parallel)
                task = replace(now.work, rows=rows, accumulation=accumulation, checkpointing=checkpointing)
                same = (f"train.global_batch={whole}",) if smaller or other.tensor != now.spread.tensor else ()
                yield (*parallel, *recomputing, *smaller, *same), other, task


def _strategies(now: Forecast) -> Iterator[tuple[tuple[str, ...], Spread]]:
    """This one first; degrees that are there already stay."""
    yield (), now.spread
    if now.spread.tensor == now.spread.pipeline == now.spread.sequence == 1:
        for one in offered(now.work, now.on_gpu):
            other = with_strategy(now.spread, one, now.processes_here)
            if other != now.spread:
                yield (f"parallel={one.name}",), other


def _divided(architecture: Architecture, now: Forecast) -> Iterator[tuple[tuple[str, ...], Spread]]:
    """Tensor degrees within a host, where they are legal, with ZeRO-1 around them."""
    one_copy = now.spread.tensor * now.spread.pipeline * now.spread.sequence
    if not now.on_gpu or one_copy > 1 or not now.work.offloadable or tensor.refusal(architecture):
        return
    sizes = tensor.divisible(architecture).values()
    for degree in (2, 4, 8):
        if now.processes_here % degree == 0 and not any(size % degree for size in sizes):
            words = ("parallel=tensor_zero1", f"parallel.tensor={degree}")
            yield words, Spread(1, now.spread.data_parallel // degree, tensor=degree)


def _checkpointing(on: bool) -> str:
    return f"train.gradient_checkpointing={str(on).lower()}"


def _halves(rows: int) -> Iterator[int]:
    """`rows` and its halves, as long as they divide it."""
    yield rows
    while rows % 2 == 0:
        rows //= 2
        yield rows


def _rows_of_a_step(now: Forecast) -> int:
    """What no advice may change."""
    return now.work.rows * now.work.accumulation * now.spread.data_parallel
