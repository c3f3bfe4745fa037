"""Checkpoint export: from a checkpoint of a run to a folder that plain transformers loads."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.base import delivery, files
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import find_checkpoint
from tunefleet.checkpoint.find_checkpoint import Checkpoint
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.engine import frozen
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.model import build
from tunefleet.model.learner import Learner
from tunefleet.plan.plan import Plan
from tunefleet.runs import chosen_checkpoint, export_format, model_card, saved_tokenizer, verify_export
from tunefleet.runs.checkpoint_files import chat_template
from tunefleet.runs.chosen_checkpoint import LAST
from tunefleet.runs.export_format import AS_THEY_ARE, Form
from tunefleet.runs.saved_weights import saved_weights
from tunefleet.runs.trainable_model import set_trainable
from tunefleet.runs.verify_export import Expected

WAIT = 900.0
"""Seconds for which what needs an export waits for another process that writes it."""


def export(
    plan: Plan, folder: Path | None = None, choice: str = LAST, form: Form = AS_THEY_ARE, wait: float = 0.0
) -> Path:
    """Writes the model of the chosen checkpoint (`last`, `best`, a step) to `folder`, with a card; needs no ranks.

    By default into the run's own, that of another than the last beside it. Raises `RunError` where there is no such
    checkpoint, it is not as it was saved, or another process writes there for longer than `wait` seconds.
    """
    step = None if choice == LAST else chosen_checkpoint.step_of(plan, choice)
    target = folder or (plan.paths.export if step is None else plan.paths.export_of(step))
    checkpoint = _checkpoint(plan) if step is None else chosen_checkpoint.verified(plan, step)
    tokenizer = saved_tokenizer.load(plan)
    template = chat_template(plan, tokenizer, checkpoint.folder)
    model = _model(plan, checkpoint, saved_weights(plan, checkpoint), tokenizer)
    with delivery.staging(target, wait) as staged:
        export_format.stage(plan, staged, model, dict(model.state_dict()), tokenizer, template, form)
        expected = _expected(plan, staged, model, tokenizer, template)
        expected = replace(expected, fp32=expected.fp32 and form.dtype in (None, "fp32"))
        compared = export_format.verify_and_deliver(plan, staged, target, checkpoint.state, expected)
        is_carded = model_card.write(plan, target, checkpoint.state.step, form.dtype or _dtype(target))
    print(f"compared with the trained model: {verify_export.summary(compared)}", file=sys.stderr)
    if not is_carded:
        print(f"tunefleet: {target / model_card.NAME} was edited, and stays as it is", file=sys.stderr)
    return target


def _dtype(folder: Path) -> str:
    """What config.json calls the dtype of the weights; that of an adapter alone is its training's."""
    config = folder / "config.json"
    return str(files.read_json(config).get("dtype")) if config.exists() else "as trained"


def _expected(plan: Plan, staged: Path, model: PreTrainedModel, tokenizer: Any, template: ChatTemplate) -> Expected:
    """What the export in `staged` must give again."""
    reason = verify_export.why_no_logits(plan) or verify_export.too_large(staged)
    rows = verify_export.sample_rows(tokenizer, model.config.get_text_config().vocab_size)
    logits = None if reason else verify_export.logits_of(PlainModel(Learner(model)), rows)
    return export_format.expected(plan, tokenizer, template, [], rows=rows, logits=logits, no_logits=reason)


def exported(plan: Plan, choice: str = LAST) -> Path:
    """The folder of the exported model, as it was written; written now where it is not there, or older than the chosen
    checkpoint. Raises `RunError` where its files were changed.
    """
    step = None if choice == LAST else chosen_checkpoint.step_of(plan, choice)
    folder = plan.paths.export if step is None else plan.paths.export_of(step)
    record = delivery.record(folder)
    if record is None or not record["complete"] or _is_older(plan, record, step):
        return export(plan, folder, LAST if step is None else str(step), wait=WAIT)
    if changed := delivery.changes(folder):
        flag = "" if step is None else f" --checkpoint {step}"
        raise RunError(f"{folder / changed[0]}. `tunefleet export {plan.name}{flag} --overwrite` writes it again.")
    return folder


def _is_older(plan: Plan, record: Mapping[str, Any], step: int | None) -> bool:
    """Whether the checkpoint of `step` (None is the last) was saved since, or the export is of the other kind."""
    saved_step, saved = find_checkpoint.latest(plan.paths.checkpoints, step)
    other_kind = record.get("merged") != plan.config.adapter.merge
    return saved_step > record.get("step", 0) or saved > record["written"] or other_kind


def _checkpoint(plan: Plan) -> Checkpoint:
    checkpoint = find_checkpoint.newest(plan.paths.checkpoints, plan.identity, SingleProcess(), plan.trajectory)
    if checkpoint is None:
        raise RunError(f"{plan.paths.checkpoints}: no checkpoint there. Train first, or set checkpoint.at_end=true.")
    if checkpoint.note:
        print(f"tunefleet: {checkpoint.note}", file=sys.stderr)
    return checkpoint


def _model(plan: Plan, checkpoint: Checkpoint, weights: dict[str, Tensor], tokenizer: Any) -> PreTrainedModel:
    """The model with `weights`; frozen ones come from where they came from when it was trained."""
    model = build.build(plan.sources, plan.config.train.seed, tokenizer=tokenizer)
    set_trainable(plan, model)
    model.to(next(iter(weights.values())).dtype)
    if frozen.any_frozen(model) and not plan.config.adapter.frozen_bits:  # it was trained beside others then
        frozen.expect(checkpoint.folder, frozen.fingerprint(Learner(model), 0, 1))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    different = {*unexpected, *(trainable & set(missing))}
    assert not different, f"{checkpoint.shards} and the model differ in {sorted(different)}"
    return model
