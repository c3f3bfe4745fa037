"""Validation: losses of every split, answers, and what the metrics say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.base.even_sample import evenly_spaced
from tunefleet.config.evaluation import ALL, EvaluationConfig
from tunefleet.contracts import Evaluable, Group
from tunefleet.data.batches.order import in_order
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.store.dataset import Example
from tunefleet.evaluation.generation import Limits, answers
from tunefleet.evaluation.loss import mean_loss, perplexity
from tunefleet.evaluation.metrics.answer_metrics import measured
from tunefleet.plan.plan import Plan
from tunefleet.runs.inputs import RunInputs


@dataclass(frozen=True)
class Sample:
    """A question, the data's answer, and the model's."""

    split: str
    question: str
    reference: str
    answer: str

    @property
    def is_exact_match(self) -> bool:
        """Whether the model's answer is the data's, white space around it aside."""
        return self.answer.strip() == self.reference.strip()


def losses(plan: Plan, model: Evaluable, group: Group, inputs: RunInputs) -> dict[str, Any]:
    """Loss and perplexity of every validation split, as a record to log. Collective of `group`, the model's copies."""
    record: dict[str, Any] = {}
    for split, data in inputs.data.validation.items():
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
            config.data.packing,
        )
        loss = mean_loss(model, group, batches)
        record |= {f"evaluation/{split}/loss": loss, f"evaluation/{split}/perplexity": perplexity(loss)}
    return record


def of_answers(plan: Plan, model: Evaluable, group: Group, inputs: RunInputs) -> tuple[dict[str, Any], list[Sample]]:
    """The metrics of every split, as a record to log, and every answer. Collective, as `losses`."""
    record: dict[str, Any] = {}
    samples: list[Sample] = []
    stops = end_of_turn(inputs.data.template, inputs.tokenizer).stops
    limits = _limits(plan.config.evaluation, plan.config.train.sequence_length, stops)
    for split, data in inputs.data.validation.items():
        examples = _selected(data.examples, plan.config.evaluation.generate_rows)
        if not examples:
            continue
        generated = answers(model, group, inputs.tokenizer, [example.prompt for example in examples], limits)
        references = [example.answer for example in examples]
        values = {**measured(plan.config.evaluation.metrics, generated, references), "answers": len(generated)}
        record |= {f"evaluation/{split}/{name}": value for name, value in values.items()}
        questions = [example.messages[-1]["content"] if example.messages else "" for example in examples]
        samples += [Sample(split, *texts) for texts in zip(questions, references, generated, strict=True)]
    return record, samples


def _selected(examples: Sequence[Example], limit: int) -> list[Example]:
    """`limit` of them, evenly spaced."""
    return [examples[place] for place in evenly_spaced(len(examples), len(examples) if limit == ALL else limit)]


def _limits(config: EvaluationConfig, length: int, stops: tuple[int, ...]) -> Limits:
    return Limits(config.generate_batch, config.max_new_tokens, length, stops)
