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


def evaluate(plan: Plan, choice: str = LAST, rows: Rows = ALL_SPLITS) -> Measured:
    """Measures the chosen checkpoint of a run: its exported model, as it computes in training, in one process."""
    inputs, splits = _read(plan, rows)
    return _measure(plan, exported_model.as_trained(plan, choice), inputs, splits)


def evaluate_model(plan: Plan, rows: Rows) -> Measured:
    """Measures the model that `plan` would train, as it is before the first step."""
    inputs, splits = _read(plan, rows)
    model = build.build(plan.sources, plan.config.train.seed, tokenizer=inputs.tokenizer)
    dtype = torch.float32 if is_slow(Machine.this()) else torch_dtype(plan.config.train.precision)
    return _measure(plan, PlainModel(Learner(model.to(dtype), tile=plan.config.train.loss_tile)), inputs, splits)


def _measure(plan: Plan, model: PlainModel, inputs: RunInputs, splits: Mapping[str, Dataset]) -> Measured:
    group = SingleProcess()
    record = validation.losses(plan, model, group, inputs, splits=splits)
    answered, samples = validation.of_answers(plan, model, group, inputs, splits=splits)
    return run_summary.evaluation_facts(plan, splits), record | answered, samples


def _read(plan: Plan, rows: Rows) -> tuple[RunInputs, Mapping[str, Dataset]]:
    """The inputs of the plan and the splits to measure. Rows from elsewhere need the training data for labels alone."""
    if rows.source and not _needs_training_data(plan):
        tokenizer = saved_tokenizer.load(plan)
        data = of_source(plan, rows.source, rows.name, tokenizer)
        template = chat_template(plan.config.data, tokenizer)
        alone = Prepared(data, {}, template, Path(), was_cached=True, bad_rows=0, removed={})
        return RunInputs(tokenizer, alone, horizon(plan, 1)), {rows.name: data}
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
    own = {field.name: getattr(plan.config.data, field.name) for field in fields(SourceConfig)}
    return replace(SourceConfig(**own), path=path, target_path=None, split=None, max_rows=None)
