"""Validation: losses of every split, answers, and what the metrics say of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.base.even_sample import evenly_spaced
from tunefleet.config.evaluation import ALL, AUTO_THRESHOLD, EvaluationConfig
from tunefleet.contracts import Evaluable, Group
from tunefleet.data.batches.order import in_order
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.store.dataset import Dataset, Example
from tunefleet.evaluation import threshold
from tunefleet.evaluation.generation import Answer, Limits, generate
from tunefleet.evaluation.interruption import Check
from tunefleet.evaluation.loss import mean_loss, perplexity
from tunefleet.evaluation.metrics import own_metrics
from tunefleet.evaluation.metrics.answer_metrics import measured
from tunefleet.plan.plan import Plan
from tunefleet.runs.decoding_rules import decoding_of
from tunefleet.runs.inputs import RunInputs, widths


@dataclass(frozen=True)
class Sample:
    """A question, the data's answer, and the model's.

    `prompt` is the question as the model reads it, and `log_probability` (natural) that which it gave to `generated`,
    which is the answer unless that became `evaluation.threshold_label`.
    """

    split: str
    question: str
    reference: str
    answer: str
    prompt: str = ""
    log_probability: float | None = None
    generated: str = ""

    @property
    def is_exact_match(self) -> bool:
        """Whether the model's answer is the data's, white space around it aside."""
        return self.answer.strip() == self.reference.strip()


def losses(
    plan: Plan,
    model: Evaluable,
    group: Group,
    inputs: RunInputs,
    check: Check | None = None,
    splits: Mapping[str, Dataset] | None = None,
) -> dict[str, Any]:
    """Loss and perplexity of every split, by default of validation, as a record to log.

    Collective of `group`, the model's copies. Raises what `check` raises before a batch.
    """
    record: dict[str, Any] = {}
    for split, data in (inputs.data.validation if splits is None else splits).items():
        if not len(data):
            continue
        config = plan.config
        batches = in_order(
            data,
            config.evaluation.max_rows,
            config.evaluation.batch,
            group.rank,
            group.size,
            inputs.tokenizer.pad_token_id,
            config.data.packing and split in inputs.data.validation,
            widths(plan),
        )
        loss = mean_loss(model, group, batches, check)
        record |= {f"evaluation/{split}/loss": loss, f"evaluation/{split}/perplexity": perplexity(loss)}
    return record


def of_answers(
    plan: Plan,
    model: Evaluable,
    group: Group,
    inputs: RunInputs,
    check: Check | None = None,
    splits: Mapping[str, Dataset] | None = None,
) -> tuple[dict[str, Any], list[Sample]]:
    """The metrics of every split, by default of validation, as a record to log, and every answer.

    A threshold is chosen on the validation splits, whichever are measured. Collective, as `losses`.
    """
    validation = inputs.data.validation
    splits = validation if splits is None else splits
    deciding = validation if plan.config.evaluation.threshold == AUTO_THRESHOLD else {}
    generated = _generated(plan, model, group, inputs, check, {**deciding, **splits})
    threshold = _threshold(plan.config.evaluation, [generated[name] for name in deciding if name in generated])
    record: dict[str, Any] = {}
    samples: list[Sample] = []
    for split, answered in generated.items():
        if split not in splits:
            continue
        texts = answered.above(threshold, plan.config.evaluation.threshold_label)
        values = {**measured(plan.config.evaluation.metrics, texts, answered.references), "answers": len(texts)}
        values |= {} if threshold is None else {"threshold": threshold}
        values |= own_metrics.measured(plan.config.evaluation.own_metrics, texts, answered.references)
        record |= {f"evaluation/{split}/{name}": value for name, value in values.items()}
        samples += answered.samples(split, texts)
    return record, samples


@dataclass(frozen=True)
class _Answered:
    """Examples, and what the model answered to them."""

    examples: Sequence[Example]
    answers: Sequence[Answer]

    @property
    def references(self) -> list[str]:
        """The data's answers."""
        return [example.answer for example in self.examples]

    @property
    def texts(self) -> list[str]:
        """The model's answers."""
        return [answer.text for answer in self.answers]

    @property
    def probabilities(self) -> list[float]:
        """Those that the model gave to its answers."""
        return [math.exp(answer.log_probability) for answer in self.answers]

    def above(self, lowest: float | None, fallback: str) -> list[str]:
        """The texts; `fallback` where the probability is below `lowest`."""
        return self.texts if lowest is None else threshold.applied(self.texts, self.probabilities, lowest, fallback)

    def samples(self, split: str, texts: Sequence[str]) -> list[Sample]:
        """All of them, with `texts` for answers."""
        return [
            Sample(split, _question(example), example.answer, text, example.prompt, answer.log_probability, answer.text)
            for example, answer, text in zip(self.examples, self.answers, texts, strict=True)
        ]


def _generated(
    plan: Plan,
    model: Evaluable,
    group: Group,
    inputs: RunInputs,
    check: Check | None,
    splits: Mapping[str, Dataset],
) -> dict[str, _Answered]:
    """What the model answers to the selected examples of every split that has some."""
    config = plan.config.evaluation
    selected = {name: selected_examples(data.examples, config.generate_rows) for name, data in splits.items()}
    if not any(selected.values()):
        return {}
    answer = answering(plan, model, group, inputs, check)
    return {name: _Answered(examples, answer(examples)) for name, examples in selected.items() if examples}


def answering(
    plan: Plan, model: Evaluable, group: Group, inputs: RunInputs, check: Check | None = None
) -> Callable[[Sequence[Example]], list[Answer]]:
    """What answers examples as `evaluation` says. Raises `ConfigError` as `decoding_of`; a call is collective."""
    stops = end_of_turn(inputs.data.template, inputs.tokenizer).stops
    limits = _limits(plan.config.evaluation, plan.config.train.sequence_length, stops)
    decoding = decoding_of(plan, inputs)
    return lambda examples: generate(
        model, group, inputs.tokenizer, [example.prompt for example in examples], limits, decoding, check
    )


def _threshold(config: EvaluationConfig, answered: Sequence[_Answered]) -> float | None:
    """The lowest probability of an answer that stays; `auto` is chosen on these answers together."""
    if config.threshold != AUTO_THRESHOLD:
        return config.threshold
    return threshold.choose(
        [text.strip() for part in answered for text in part.texts],
        [probability for part in answered for probability in part.probabilities],
        [text.strip() for part in answered for text in part.references],
        config.threshold_label,
        config.threshold_cost,
    )


def _question(example: Example) -> str:
    return example.messages[-1]["content"] if example.messages else ""


def selected_examples(examples: Sequence[Example], limit: int) -> list[Example]:
    """`limit` of them, evenly spaced."""
    return [examples[index] for index in evenly_spaced(len(examples), len(examples) if limit == ALL else limit)]


def _limits(config: EvaluationConfig, length: int, stops: tuple[int, ...]) -> Limits:
    return Limits(config.generate_batch, config.max_new_tokens, length, stops)
