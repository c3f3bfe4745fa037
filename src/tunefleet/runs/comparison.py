"""Comparison of models on the same rows: scores, paired bootstrap, answers side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.config.evaluation import MetricName
from tunefleet.evaluation.bootstrap import Difference, paired_bootstrap
from tunefleet.evaluation.metrics.row_statistics import RowStatistics, ratio, row_statistics
from tunefleet.runs.evaluate import Opened
from tunefleet.runs.validation import Sample


@dataclass(frozen=True)
class Side:
    """A model's answers by split, and what gives its metrics and its loss for any choice of rows."""

    label: str
    samples: Mapping[str, Sequence[Sample]]
    statistics: Mapping[str, Mapping[str, RowStatistics]]


@dataclass(frozen=True)
class Pair:
    """What `second` has more of `value` than `first`, by the numbers of the models."""

    split: str
    value: str
    first: int
    second: int
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """Models, every pair of them by every value, the seed of the bootstrap, and notes on what was not compared."""

    sides: Sequence[Side]
    pairs: Sequence[Pair]
    seed: int
    notes: Sequence[str]


def side(label: str, opened: Opened, metrics: Sequence[MetricName]) -> Side:
    """Measures one model; without `metrics` its answers alone."""
    samples: dict[str, list[Sample]] = {}
    for sample in opened.answer()[1]:
        samples.setdefault(sample.split, []).append(sample)
    if not metrics:
        return Side(label, samples, {})
    losses = opened.row_losses()
    return Side(
        label, samples, {split: _statistics(rows, losses.get(split, []), metrics) for split, rows in samples.items()}
    )


def _statistics(
    samples: Sequence[Sample], losses: Sequence[tuple[float, int]], metrics: Sequence[MetricName]
) -> dict[str, RowStatistics]:
    answers, references = [sample.answer for sample in samples], [sample.reference for sample in samples]
    sums, tokens = [total for total, _ in losses], [float(count) for _, count in losses]
    loss = {"loss": ratio(sums, tokens)} if len(losses) == len(samples) else {}
    return {**loss, **row_statistics(metrics, answers, references)}


def compared(sides: Sequence[Side], seed: int) -> Comparison:
    """Every pair of models. Raises `DataError` where they did not answer the same questions."""
    for side in sides[1:]:
        if _questions(side) != _questions(sides[0]):
            raise DataError(f"{sides[0].label} and {side.label} did not read the same rows: nothing can be paired.")
    pairs: list[Pair] = []
    notes: dict[str, None] = {}
    for first, second in combinations(range(len(sides)), 2):
        for split, value, statistics in _shared(sides[first], sides[second]):
            if value == "loss" and not _same_tokens(*statistics):
                notes[
                    f"{sides[first].label} and {sides[second].label} have other tokens: their losses do not compare."
                ] = None
            else:
                pairs.append(Pair(split, value, first, second, paired_bootstrap(*statistics, seed)))
    return Comparison(sides, pairs, seed, list(notes))


def _questions(model: Side) -> list[Any]:
    return [(split, row.question, row.reference) for split, rows in model.samples.items() for row in rows]


def _shared(first: Side, second: Side) -> Iterator[tuple[str, str, tuple[RowStatistics, RowStatistics]]]:
    for split, values in first.statistics.items():
        values_of_second = second.statistics.get(split, {})
        yield from (
            (split, name, (values[name], values_of_second[name])) for name in values if name in values_of_second
        )


def _same_tokens(first: RowStatistics, second: RowStatistics) -> bool:
    return bool((first.rows[:, 1] == second.rows[:, 1]).all())
