"""Rules of evaluation: settings of answers that do not go together."""

from __future__ import annotations

from collections.abc import Iterator

from tunefleet.config import RunConfig
from tunefleet.config.data import TrainOn
from tunefleet.config.evaluation import ALL, AUTO_THRESHOLD, AnswerSet, Decoding, EvaluationConfig
from tunefleet.config.fields import as_typed

_OF_DECODING = {
    "temperature": Decoding.SAMPLING,
    "top_p": Decoding.SAMPLING,
    "top_k": Decoding.SAMPLING,
    "seed": Decoding.SAMPLING,
    "beams": Decoding.BEAM,
}
_FEW = 50  # answers on which no threshold is chosen


def complaints(config: RunConfig) -> list[str]:
    """What cannot work, or would not be used."""
    evaluation = config.evaluation
    return [*_unused(evaluation), *_labels(config), *_stop_texts(evaluation), *_threshold(evaluation)]


def _unused(evaluation: EvaluationConfig) -> Iterator[str]:
    default = EvaluationConfig()
    for name, decoding in _OF_DECODING.items():
        if evaluation.decoding is not decoding and getattr(evaluation, name) != getattr(default, name):
            value = as_typed(getattr(evaluation, name))
            yield f"evaluation.{name}={value}: not used. Set evaluation.decoding={decoding.value}, or leave it out."
    if evaluation.threshold is None and evaluation.threshold_label != default.threshold_label:
        yield "evaluation.threshold_label: not used. Set evaluation.threshold=auto, or leave it out."
    if evaluation.threshold != AUTO_THRESHOLD and evaluation.threshold_cost != default.threshold_cost:
        yield "evaluation.threshold_cost: not used. Set evaluation.threshold=auto, or leave it out."


def _labels(config: RunConfig) -> Iterator[str]:
    evaluation = config.evaluation
    if evaluation.answers is not AnswerSet.LABELS:
        if evaluation.labels:
            yield "evaluation.labels: not used. Set evaluation.answers=labels, or leave it out."
        return
    if any(not label.strip() for label in evaluation.labels):
        yield "evaluation.labels: an empty text is no answer. Leave it out."
    if config.data.train_on is TrainOn.ALL and not evaluation.labels:
        yield "evaluation.answers=labels: with data.train_on=all no answers can be told apart. List evaluation.labels."
    if evaluation.stop_texts:
        yield "evaluation.stop_texts: labels end by themselves. Leave it out, or evaluation.answers=labels."


def _stop_texts(evaluation: EvaluationConfig) -> Iterator[str]:
    if "" in evaluation.stop_texts:
        yield "evaluation.stop_texts: an empty text would end every answer at once. Leave it out."


def _threshold(evaluation: EvaluationConfig) -> Iterator[str]:
    rows = evaluation.generate_rows
    if evaluation.threshold == AUTO_THRESHOLD and rows != ALL and rows < _FEW:
        yield (
            "evaluation.threshold=auto: it is chosen on the answers to validation rows, and takes at least "
            f"{_FEW}. Set evaluation.generate_rows=all."
        )
