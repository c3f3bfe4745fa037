"""Row statistics: numbers of each answer whose sums give a metric, so that any choice of rows can be measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunefleet.config.evaluation import MetricName
from tunefleet.evaluation.metrics import json_answers
from tunefleet.evaluation.metrics.rouge import rouge_l
from tunefleet.evaluation.metrics.translation import bleu_metric, chrf_metric
from tunefleet.libraries.sacrebleu_private import corpus_score, sentence_counts

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class RowStatistics:
    """`rows` [rows, numbers], and the metric of rows whose numbers add up to `score`'s argument [numbers]."""

    rows: Numbers
    score: Callable[[Numbers], float]

    @property
    def value(self) -> float:
        """The metric of all rows."""
        return self.score(self.rows.sum(axis=0))


def ratio(numerators: Sequence[float], denominators: Sequence[float], empty: float = 0.0) -> RowStatistics:
    """The quotient of two sums; `empty` where the second is 0."""
    rows = np.array([numerators, denominators], dtype=np.float64).T
    return RowStatistics(rows, lambda sums: float(sums[0] / sums[1]) if sums[1] else empty)


def row_statistics(
    metrics: Sequence[MetricName], answers: Sequence[str], references: Sequence[str]
) -> dict[str, RowStatistics]:
    """Those of every value of these metrics; each gives what `answer_metrics.measured` gives."""
    stripped = [text.strip() for text in answers], [text.strip() for text in references]
    return {name: statistics for metric in metrics for name, statistics in _STATISTICS[metric](*stripped).items()}


def _mean(values: Sequence[float]) -> RowStatistics:
    return ratio(values, [1.0] * len(values))


def _equal(answers: Sequence[str], references: Sequence[str]) -> RowStatistics:
    return _mean([float(answer == reference) for answer, reference in zip(answers, references, strict=True)])


def _json(answers: Sequence[str], references: Sequence[str]) -> dict[str, RowStatistics]:
    parsed = [json_answers.slots(answer) for answer in answers]
    expected = [json_answers.slots(reference) or Counter() for reference in references]
    pairs = [(slots or Counter(), target) for slots, target in zip(parsed, expected, strict=True)]
    right = [2.0 * (slots & target).total() for slots, target in pairs]
    counted = [float(slots.total() + target.total()) for slots, target in pairs]
    return {"json_valid": _mean([float(slots is not None) for slots in parsed]), "slot_f1": ratio(right, counted, 1.0)}


def _labels(answers: Sequence[str], references: Sequence[str]) -> dict[str, RowStatistics]:
    classes = {label: number for number, label in enumerate(sorted(set(references)))}
    rows = np.zeros((len(answers), 2, len(classes)))  # twice what was right; answers and references of each class
    for row, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        rows[row, 1, classes[reference]] += 1
        if answer in classes:
            rows[row, 1, classes[answer]] += 1
            rows[row, 0, classes[answer]] += 2 * (answer == reference)

    def macro_f1(sums: Numbers) -> float:
        right, counted = sums.reshape(2, -1)
        return float(np.mean(right / np.maximum(counted, 1)))

    return {
        "accuracy": _equal(answers, references),
        "macro_f1": RowStatistics(rows.reshape(len(answers), -1), macro_f1),
    }


def _bleu(answers: Sequence[str], references: Sequence[str]) -> dict[str, RowStatistics]:
    metric = bleu_metric(references)
    return {"bleu": RowStatistics(sentence_counts(metric, answers, references), lambda c: corpus_score(metric, c))}


def _chrf(answers: Sequence[str], references: Sequence[str]) -> dict[str, RowStatistics]:
    metric = chrf_metric()
    return {"chrf": RowStatistics(sentence_counts(metric, answers, references), lambda c: corpus_score(metric, c))}


def _rouge_l(answers: Sequence[str], references: Sequence[str]) -> dict[str, RowStatistics]:
    pairs = zip(answers, references, strict=True)
    return {"rouge_l": _mean([rouge_l([answer], [reference])["rouge_l"] for answer, reference in pairs])}


_STATISTICS: Mapping[MetricName, Callable[[Sequence[str], Sequence[str]], dict[str, RowStatistics]]] = {
    MetricName.EXACT_MATCH: lambda answers, references: {"exact_match": _equal(answers, references)},
    MetricName.JSON: _json,
    MetricName.LABELS: _labels,
    MetricName.BLEU: _bleu,
    MetricName.CHRF: _chrf,
    MetricName.ROUGE_L: _rouge_l,
}
