"""Group `evaluation`: what is measured besides the training loss, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tunefleet.base.units import Cadence, Duration, Unit
from tunefleet.config.fields import ranged

ALL = -1  # `all`: every row
AUTO_THRESHOLD = -1  # `auto`: a threshold chosen on validation rows
AUTO = -2  # `auto`: a few where that is cheap


class MetricName(Enum):
    """What is measured of answers."""

    EXACT_MATCH = "exact_match"
    JSON = "json"
    LABELS = "labels"
    BLEU = "bleu"
    CHRF = "chrf"
    ROUGE_L = "rouge_l"


class Decoding(Enum):
    """How the next token of an answer is chosen."""

    GREEDY = "greedy"
    SAMPLING = "sampling"
    BEAM = "beam"


class AnswerSet(Enum):
    """Which answers may be given."""

    UNRESTRICTED = "any"
    LABELS = "labels"


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
    """Validation loss, metrics of answers, and samples."""

    every: Cadence | None = Cadence((Duration(20, Unit.PERCENT), Duration(1, Unit.EPOCHS)))
    """Between evaluations: `20% or 1 epoch` (whichever comes first), `500` (steps), `30 minutes`; null evaluates only
    at the end, and so does the default in a run of fewer than 5 steps."""
    max_rows: int | None = ranged(None, at_least=1)
    """Validation rows of each split that enter the loss, drawn evenly over it; null is all."""
    batch: int = ranged(8, at_least=1)
    """Sequences of one forward pass."""
    generate_rows: int = ranged(AUTO, at_least=0, named={"auto": AUTO, "all": ALL})
    """Conversations of each split that are answered at the end, drawn evenly over it, or `all`;
    `auto` is 5 where that is cheap (every process has the whole model; on a CPU at most 100M parameters), else 0."""
    metrics: tuple[MetricName, ...] = (MetricName.EXACT_MATCH,)
    """What is measured of the answers: `exact_match`; `json`: how many are JSON, and slot F1 over their values;
    `labels`: accuracy and macro-F1 of classes; `bleu` and `chrf` (0 to 100, by sacrebleu); `rouge_l`."""
    own_metrics: tuple[str, ...] = ()
    """Functions of your own project, `my_project.metrics:rouge_zh`, which your settings file allows: of answers and
    references, a number of which more is better (docs/your-project.md)."""
    generate_batch: int = ranged(64, at_least=1)
    """Conversations answered at once."""
    max_new_tokens: int = ranged(128, at_least=1)
    """Longest answer in tokens."""
    decoding: Decoding = Decoding.GREEDY
    """How each token is chosen: the likeliest (`greedy`), one drawn at random (`sampling`), or those of the likeliest
    of `beams` answers (`beam`)."""
    temperature: float = ranged(1.0, above=0)
    """Of `sampling`: below 1 likely tokens become likelier."""
    top_p: float = ranged(1.0, above=0, at_most=1)
    """Of `sampling`: only the likeliest tokens that together have this probability; 1 is all."""
    top_k: int = ranged(0, at_least=0)
    """Of `sampling`: only so many of the likeliest tokens; 0 is all."""
    seed: int = ranged(0, at_least=0)
    """Of `sampling`: the same seed draws the same answers, with any number of processes and any `generate_batch`."""
    beams: int = ranged(4, at_least=2)
    """Of `beam`: answers that are followed at once."""
    stop_texts: tuple[str, ...] = ()
    """Texts at which an answer ends too, such as `["\\n"]`; they are no part of it."""
    answers: AnswerSet = AnswerSet.UNRESTRICTED
    """`labels` allows only the answers of the training data, or `labels`; no other is ever begun."""
    labels: tuple[str, ...] = ()
    """Of `answers=labels`: the answers that are allowed, instead of those of the training data."""
    threshold: float | None = ranged(None, at_least=0, at_most=1, named={"auto": AUTO_THRESHOLD})
    """An answer whose probability is lower becomes `threshold_label`; `auto` chooses it on the validation rows, never
    on test rows; null leaves every answer as it is."""
    threshold_label: str = "out_of_scope"
    """What an answer below `threshold` becomes."""
    threshold_cost: float = ranged(0.01, at_least=0, at_most=1)
    """Of `threshold=auto`: accuracy on validation rows of other labels that may be lost; the highest such threshold is
    taken."""
    samples: int = ranged(5, at_least=0)
    """Answers shown at the end of a run."""
