"""How good a model is: validation loss of every split, answers, and the share that is exactly right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.base.even_sample import evenly_spaced
from tunefleet.config.evaluation import ALL, EvaluationConfig
from tunefleet.contracts import Evaluable, Group
from tunefleet.data.batches.order import in_order
from tunefleet.data.store.dataset import Example
from tunefleet.evaluation.generate import Limits, answers, exact_match
from tunefleet.evaluation.loss import mean_loss, perplexity
from tunefleet.plan.plan import Plan
from tunefleet.runs import parts
from tunefleet.runs.parts import Material


@dataclass(frozen=True)
class Sample:
    """A question, the data's answer, and the model's."""

    split: str
    question: str
    wanted: str
    said: str

    @property
    def right(self) -> bool:
        """Whether the answer is the wanted one, white space around it aside."""
        return self.said.strip() == self.wanted.strip()


def losses(plan: Plan, model: Evaluable, group: Group, read: Material) -> dict[str, Any]:
    """Loss and perplexity of every validation split, as a record to log. Collective of `group`, the model's copies."""
    record: dict[str, Any] = {}
    for split, data in read.data.validation.items():
        if not len(data):
            continue
        config = plan.config
        rows = in_order(
            data,
            config.evaluation.max_rows,
            config.evaluation.batch,
            group.rank,
            group.size,
            read.tokenizer.pad_token_id,
            config.data.packing,
        )
        loss = mean_loss(model, group, rows)
        record |= {f"evaluation/{split}/loss": loss, f"evaluation/{split}/perplexity": perplexity(loss)}
    return record


def exact_matches(plan: Plan, model: Evaluable, group: Group, read: Material) -> tuple[dict[str, Any], list[Sample]]:
    """Exact match of every split, as a record to log, and every answer. Collective, as `losses`."""
    record: dict[str, Any] = {}
    samples: list[Sample] = []
    stops = parts.stops(read.data.template, read.tokenizer)
    limits = _limits(plan.config.evaluation, plan.config.train.sequence_length, stops)
    for split, data in read.data.validation.items():
        examples = _drawn(data.examples, plan.config.evaluation.generate_rows)
        if not examples:
            continue
        said = answers(model, group, read.tokenizer, [example.prompt for example in examples], limits)
        wanted = [example.answer for example in examples]
        record |= {
            f"evaluation/{split}/exact_match": exact_match(said, wanted),
            f"evaluation/{split}/answers": len(said),
        }
        questions = [example.messages[-1]["content"] if example.messages else "" for example in examples]
        samples += [Sample(split, *parts) for parts in zip(questions, wanted, said, strict=True)]
    return record, samples


def _drawn(examples: Sequence[Example], limit: int) -> list[Example]:
    """`limit` of them, evenly drawn."""
    return [examples[place] for place in evenly_spaced(len(examples), len(examples) if limit == ALL else limit)]


def _limits(config: EvaluationConfig, length: int, stops: tuple[int, ...]) -> Limits:
    return Limits(config.generate_batch, config.max_new_tokens, length, stops)
