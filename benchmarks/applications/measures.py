"""Measures: the values of an application's table, from test rows and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.applications.clinc150 import OUT_OF_SCOPE
from tunefleet.config.evaluation import MetricName
from tunefleet.evaluation.metrics.answer_metrics import measured

Values = Mapping[str, float]
TRANSLATION = (MetricName.BLEU, MetricName.CHRF)
COMMANDS = (MetricName.EXACT_MATCH, MetricName.JSON)


def of_translation(answers: Sequence[str], references: Sequence[str]) -> Values:
    """BLEU and chrF, 0 to 100."""
    return measured(TRANSLATION, answers, references)


def of_commands(answers: Sequence[str], references: Sequence[str]) -> Values:
    """Exact match, share of JSON and slot F1, 0 to 100."""
    return {name: 100 * value for name, value in measured(COMMANDS, answers, references).items()}


def of_intents(answers: Sequence[str], references: Sequence[str]) -> Values:
    """In percent: accuracy and macro-F1 of the questions that have an intent, recall of those that have none."""
    pairs = list(zip(answers, references, strict=True))
    in_scope = [(answer, reference) for answer, reference in pairs if reference != OUT_OF_SCOPE]
    labels = measured((MetricName.LABELS,), *map(list, zip(*in_scope, strict=True)))
    outside = [answer == OUT_OF_SCOPE for answer, reference in pairs if reference == OUT_OF_SCOPE]
    recall = sum(outside) / len(outside)
    values = {"accuracy": labels["accuracy"], "macro_f1": labels["macro_f1"], "out_of_scope_recall": recall}
    return {name: 100 * value for name, value in values.items()}


def with_threshold(without: Values, answers: Sequence[str], references: Sequence[str]) -> Values:
    """`without` a threshold, and what answers of too low a probability being out of scope changes; in percent."""
    below = of_intents(answers, references)
    return {
        **without,
        "recall_with_threshold": below["out_of_scope_recall"],
        "accuracy_lost": without["accuracy"] - below["accuracy"],
    }
