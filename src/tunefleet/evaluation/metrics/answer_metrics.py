"""Answer metrics: which function measures what a name of `evaluation.metrics` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tunefleet.config.evaluation import MetricName
from tunefleet.evaluation.metrics.exact_match import exact_match
from tunefleet.evaluation.metrics.json_answers import json_answers
from tunefleet.evaluation.metrics.labels import labels
from tunefleet.evaluation.metrics.rouge import rouge_l
from tunefleet.evaluation.metrics.translation import bleu, chrf

Metric = Callable[[Sequence[str], Sequence[str]], Mapping[str, float]]
"""{name: value} of answers and as many references; both without the white space around them, one at least."""

METRICS: Mapping[MetricName, Metric] = {
    MetricName.EXACT_MATCH: exact_match,
    MetricName.JSON: json_answers,
    MetricName.LABELS: labels,
    MetricName.BLEU: bleu,
    MetricName.CHRF: chrf,
    MetricName.ROUGE_L: rouge_l,
}


def measured(names: Sequence[MetricName], answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The values of all these metrics. Raises `ValueError` where the numbers of texts differ or are zero."""
    if not answers or len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers and {len(references)} references")
    stripped = [text.strip() for text in answers], [text.strip() for text in references]
    return {name: value for metric in names for name, value in METRICS[metric](*stripped).items()}
