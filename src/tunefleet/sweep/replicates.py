"""Replicates: one score of the runs of a trial that differ in their seed alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tunefleet.sweep.study import Score


def score(results: Sequence[Sequence[float]]) -> Score:
    """The mean of each objective over the seeds, by which trials are compared, and its spread.

    `results` holds the objectives of each seed. The spread is the sample standard deviation (n - 1 in the denominator);
    of a single seed there is none. A seed whose result is no number makes the mean none: such a trial is the worst.
    """
    columns = list(zip(*results, strict=True))
    means = tuple(statistics.fmean(column) for column in columns)
    if len(results) == 1:
        return Score(means)
    return Score(means, tuple(_deviation(column, mean) for column, mean in zip(columns, means, strict=True)))


def _deviation(column: Sequence[float], mean: float) -> float:
    """`statistics.stdev` refuses numbers that are not finite."""
    return float((sum((value - mean) ** 2 for value in column) / (len(column) - 1)) ** 0.5)
