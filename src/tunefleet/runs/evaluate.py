"""Evaluation of a finished run or of a model in files: what a run measures at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from tunefleet.base.errors import ConfigError
from tunefleet.config.data import SourceConfig
from tunefleet.config.evaluation import AUTO_THRESHOLD, AnswerSet
from tunefleet.data.batches.order import in_order
from tunefleet.data.prepare import Prepared, chat_template
from tunefleet.data.store.dataset import Dataset
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.model import build
from tunefleet.model.learner import Learner
from tunefleet.plan.horizon import horizon
from tunefleet.plan.plan import Plan
from tunefleet.plan.precision import is_slow
from tunefleet.plan.processes.machine import Machine
from tunefleet.runs import exported_model, run_summary, saved_tokenizer, validation
from tunefleet.runs.chosen_checkpoint import LAST
from tunefleet.runs.inputs import RunInputs, load_inputs, of_source
from tunefleet.runs.validation import Sample

Measured = tuple[dict[str, str], dict[str, Any], list[Sample]]
"""What was measured on; losses and metrics of the answers of every split; all answers."""


@dataclass(frozen=True)
class Rows:
    """What is measured on: the splits of the plan, one of them by `name`, or rows from elsewhere, `source`."""

    name: str = ""
    source: SourceConfig | None = None


ALL_SPLITS = Rows()


@dataclass(frozen=True)
class Opened:
    """A model in memory, and the splits to measure it on."""

    plan: Plan
    model: PlainModel
    inputs: RunInputs
    splits: Mapping[str, Dataset]

    def measure(self) -> Measured:
        """Losses, answers and metrics, in one process."""
        record = validation.losses(self.plan, self.model, SingleProcess(), self.inputs, splits=self.splits)
        answered, samples = self.answer()
        return run_summary.evaluation_facts(self.plan, self.splits), record | answered, samples

    def answer(self) -> tuple[dict[str, Any], list[Sample]]:
        """Answers and their metrics."""
        return validation.of_answers(self.plan, self.model, SingleProcess(), self.inputs, splits=self.splits)

    def row_losses(self) -> dict[str, list[tuple[float, int]]]:
        """(sum of token losses, loss tokens) of each row, by split; packed splits have none."""
        limit = self.plan.config.evaluation.max_rows
        pad = self.inputs.tokenizer.pad_token_id
        return {
            split: [self.model.loss(batch) for batch in in_order(data, limit, 1, 0, 1, pad, packed=False)]
            for split, data in self.splits.items()
            if 0 < len(data) == len(data.examples) == data.card.conversations
        }


def open_run(plan: Plan, choice: str = LAST, rows: Rows = ALL_SPLITS) -> Opened:
    """The chosen checkpoint of a run: its exported model, as it computes in training."""
    inputs, splits = _read(plan, rows)
    return Opened(plan, exported_model.as_trained(plan, choice), inputs, splits)


def open_model(plan: Plan, rows: Rows) -> Opened:
    """The model that `plan` would train, as it is before the first step."""
    inputs, splits = _read(plan, rows)
    model = build.build(plan.sources, plan.config.train.seed, tokenizer=inputs.tokenizer)
    dtype = torch.float32 if is_slow(Machine.this()) else torch_dtype(plan.config.train.precision)
    learner = Learner(model.to(dtype), tile=plan.config.train.loss_tile, by_document=plan.by_document)
    return Opened(plan, PlainModel(learner), inputs, splits)


def _read(plan: Plan, rows: Rows) -> tuple[RunInputs, Mapping[str, Dataset]]:
    """The inputs of the plan and the splits to measure. Rows from elsewhere need the training data for labels alone."""
    if rows.source and not _needs_training_data(plan):
        tokenizer = saved_tokenizer.load(plan)
        data = of_source(plan, rows.source, rows.name, tokenizer)
        template = chat_template(plan.config.data, tokenizer)
        prepared = Prepared(data, {}, template, Path(), was_cached=True, bad_rows=0, removed={})
        return RunInputs(tokenizer, prepared, horizon(plan, 1)), {rows.name: data}
    inputs = load_inputs(plan)
    if rows.source:
        return inputs, {rows.name: of_source(plan, rows.source, rows.name, inputs.tokenizer)}
    splits = inputs.measured_at_end
    if rows.name and rows.name not in splits:
        raise ConfigError(f"--on: {rows.name} is no file, and no split. There are: {', '.join(splits) or 'none'}.")
    return inputs, {rows.name: splits[rows.name]} if rows.name else splits


def _needs_training_data(plan: Plan) -> bool:
    """Whether what is allowed, or what is trusted, is read from the training or validation rows."""
    config = plan.config.evaluation
    return (config.answers is AnswerSet.LABELS and not config.labels) or config.threshold == AUTO_THRESHOLD


def source_of(plan: Plan, path: str) -> SourceConfig:
    """The rows in `path`, read as the plan reads its training rows; of a mixture each format is recognised."""
    if plan.config.data.mix:
        return SourceConfig(path=path)
    settings = {field.name: getattr(plan.config.data, field.name) for field in fields(SourceConfig)}
    return replace(SourceConfig(**settings), path=path, target_path=None, split=None, max_rows=None)
