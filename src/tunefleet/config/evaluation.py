"""Group `evaluation`: what is measured besides the training loss, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.base.units import Cadence, Duration, Unit
from tunefleet.config.fields import ranged

ALL = -1  # `all`: every row
AUTO = -2  # `auto`: a few where that is cheap


class MetricName(Enum):
    """What is measured of answers."""

    EXACT_MATCH = "exact_match"
    JSON = "json"
    LABELS = "labels"
    BLEU = "bleu"
    CHRF = "chrf"
    ROUGE_L = "rouge_l"


VALUES_OF = {
    MetricName.EXACT_MATCH: ("exact_match",),
    MetricName.JSON: ("json_valid", "slot_f1"),
    MetricName.LABELS: ("accuracy", "macro_f1"),
    MetricName.BLEU: ("bleu",),
    MetricName.CHRF: ("chrf",),
    MetricName.ROUGE_L: ("rouge_l",),
}
"""The values of each, which metrics.jsonl has as `evaluation/SPLIT/VALUE`; of all of them more is better."""
_OF_HUNDRED = ("bleu", "chrf")


def metric_text(value_name: str, value: float) -> str:
    """Such as `exact match 81.0%`, or `bleu 32.30`, which papers give of 100."""
    number = f"{value:.2f}" if value_name in _OF_HUNDRED else f"{value:.1%}"
    return f"{value_name.replace('_', ' ')} {number}"


@dataclass(frozen=True)
class EvaluationConfig:
    """Validation loss, exact match by greedy generation, and samples."""

    every: Cadence | None = Cadence((Duration(20, Unit.PERCENT), Duration(1, Unit.EPOCHS)))
    """Between evaluations: `20% or 1 epoch` (whichever comes first), `500` (steps), `30 minutes`; null evaluates only
    at the end, and so does the default in a run of fewer than 5 steps."""
    max_rows: int | None = ranged(None, at_least=1)
    """Validation rows of each split that enter the loss, drawn evenly over it; null is all."""
    batch: int = ranged(8, at_least=1)
    """Sequences of one forward pass."""
    generate_rows: int = ranged(AUTO, at_least=0, named={"auto": AUTO, "all": ALL})
    """Conversations of each split that are answered by greedy generation at the end, drawn evenly over it, or `all`;
    `auto` is 5 where that is cheap (every process has the whole model; on a CPU at most 100M parameters), else 0."""
    metrics: tuple[MetricName, ...] = (MetricName.EXACT_MATCH,)
    """What is measured of the answers: `exact_match`; `json`: how many are JSON, and slot F1 over their values;
    `labels`: accuracy and macro-F1 of classes; `bleu` and `chrf` (0 to 100, by sacrebleu); `rouge_l`."""
    generate_batch: int = ranged(64, at_least=1)
    """Conversations answered at once."""
    max_new_tokens: int = ranged(128, at_least=1)
    """Longest answer in tokens."""
    samples: int = ranged(5, at_least=0)
    """Answers shown at the end of a run."""
