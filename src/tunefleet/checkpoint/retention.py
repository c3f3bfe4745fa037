"""Retention: which checkpoints go, once a new one is on the disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tunefleet.plan.horizon import Pace


@dataclass(frozen=True)
class Retention:
    """What stays: the `newest`, the `best` by a metric, the first at or after each multiple of `milestones`.

    They take at most `budget` bytes together, room for the next one included; None is any number.
    """

    newest: int = 2
    best: int = 0
    milestones: Pace = Pace()
    budget: int | None = None


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that counts. `size` is in bytes, `saved` in seconds since 1970.

    `cost` is its metric with the sign that makes smaller ones better; None where it was not measured, or is no number.
    """

    name: str
    step: int
    size: int
    saved: float
    cost: float | None = None


def superfluous(saved: Sequence[SavedCheckpoint], retention: Retention, needed: Collection[str]) -> list[str]:
    """The names of those that go, the oldest first; never one of `needed`, nor the best where best ones are kept."""
    by_step = sorted(saved, key=lambda checkpoint: checkpoint.step)
    best = ranked(by_step)[: retention.best]
    safe = {*needed, *(checkpoint.name for checkpoint in best[:1])}
    stays = safe | {checkpoint.name for checkpoint in [*best, *_newest(by_step, retention.newest, needed)]}
    stays |= {checkpoint.name for checkpoint in _milestones(by_step, retention.milestones)}
    names = [checkpoint.name for checkpoint in by_step if checkpoint.name not in stays]
    return names + _over_budget([c for c in by_step if c.name in stays], retention.budget, safe)


def ranked(saved: Sequence[SavedCheckpoint]) -> list[SavedCheckpoint]:
    """Those that were measured, the best first; of equal ones the earlier is the better."""
    measured = [(checkpoint.cost, checkpoint.step, checkpoint) for checkpoint in saved if checkpoint.cost is not None]
    return [checkpoint for _, _, checkpoint in sorted(measured, key=lambda entry: entry[:2])]


def is_among_best(cost: float | None, saved: Sequence[SavedCheckpoint], retention: Retention) -> bool:
    """Whether a checkpoint of this `cost` would be one of the best that stay."""
    if cost is None or not retention.best:
        return False
    costs = [checkpoint.cost for checkpoint in ranked(saved)[: retention.best] if checkpoint.cost is not None]
    return len(costs) < retention.best or cost < costs[-1]


def _newest(by_step: Sequence[SavedCheckpoint], number: int, needed: Collection[str]) -> list[SavedCheckpoint]:
    """The `needed` ones are of their number: one that was just saved may have a lower step."""
    earlier = [checkpoint for checkpoint in by_step if checkpoint.name not in needed]
    first = len(earlier) - max(0, number - (len(by_step) - len(earlier)))
    return earlier[first:]


def _milestones(by_step: Sequence[SavedCheckpoint], every: Pace) -> Iterator[SavedCheckpoint]:
    """The first of each interval; what was removed was never the first, so that the answer is the same at each save."""
    intervals = set()
    for checkpoint in by_step:
        interval = checkpoint.step // every.steps if every.steps else 0
        if interval and interval not in intervals:
            yield checkpoint
        intervals.add(interval)
    last = -float("inf")
    for checkpoint in by_step if every.seconds else ():
        if checkpoint.saved - last >= every.seconds:
            last = checkpoint.saved
            yield checkpoint


def _over_budget(by_step: Sequence[SavedCheckpoint], budget: int | None, safe: Collection[str]) -> list[str]:
    """The oldest, until the others and one more of the last one's size fit."""
    if budget is None or not by_step:
        return []
    total, names = sum(checkpoint.size for checkpoint in [*by_step, by_step[-1]]), []
    for checkpoint in by_step:
        if total > budget and checkpoint.name not in safe:
            names.append(checkpoint.name)
            total -= checkpoint.size
    return names
