"""Checkpoint export: from a run's newest checkpoint to a folder that plain transformers loads."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.base import delivery
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import find_checkpoint
from tunefleet.checkpoint.find_checkpoint import Checkpoint
from tunefleet.config.adapter import AdapterName
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.engine import frozen
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.model import build
from tunefleet.model.learner import Learner
from tunefleet.plan.plan import Plan
from tunefleet.runs import export_format, saved_tokenizer, verify_export
from tunefleet.runs.checkpoint_files import chat_template
from tunefleet.runs.saved_weights import saved_weights
from tunefleet.runs.trainable_model import set_trainable
from tunefleet.runs.verify_export import Expected


def export(plan: Plan, folder: Path | None = None) -> Path:
    """Writes the model of the newest checkpoint to `folder` (the run's own by default); needs no ranks.

    Raises `RunError` where the run has no checkpoint, or none that is as it was saved.
    """
    target = folder or plan.paths.export
    checkpoint = _checkpoint(plan)
    tokenizer = saved_tokenizer.load(plan)
    template = chat_template(plan, tokenizer, checkpoint.folder)
    model = _model(plan, checkpoint, saved_weights(plan, checkpoint), tokenizer)
    with delivery.staging(target) as staged:
        export_format.stage(plan, staged, model, dict(model.state_dict()), tokenizer, template)
        expected = _expected(plan, staged, model, tokenizer, template)
        compared = export_format.verify_and_deliver(plan, staged, target, checkpoint.state, expected)
    print(f"compared with the trained model: {verify_export.summary(compared)}", file=sys.stderr)
    return target


def _expected(plan: Plan, staged: Path, model: PreTrainedModel, tokenizer: Any, template: ChatTemplate) -> Expected:
    """What the export in `staged` must give again."""
    reason = verify_export.why_no_logits(plan) or verify_export.too_large(staged)
    rows = verify_export.sample_rows(tokenizer, model.config.get_text_config().vocab_size)
    logits = None if reason else verify_export.logits_of(PlainModel(Learner(model)), rows)
    return export_format.expected(plan, tokenizer, template, [], rows=rows, logits=logits, no_logits=reason)


def exported(plan: Plan) -> Path:
    """The folder of the exported model, as it was written; written now where it is not there, or older than the newest
    checkpoint. Raises `RunError` where its files were changed.
    """
    folder = plan.paths.export
    record = delivery.record(folder)
    if record is None or not record["complete"] or _is_older(plan, record):
        return export(plan)
    if changed := delivery.changes(folder):
        raise RunError(f"{folder / changed[0]}. `tunefleet export {plan.name} --overwrite` writes it again.")
    return folder


def _is_older(plan: Plan, record: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was saved since, or the export is of the other kind than the plan's."""
    step, saved = find_checkpoint.latest(plan.paths.checkpoints)
    return (
        step > record.get("step", 0) or saved > record["written"] or record.get("merged") != plan.config.adapter.merge
    )


def _checkpoint(plan: Plan) -> Checkpoint:
    checkpoint = find_checkpoint.newest(plan.paths.checkpoints, plan.identity, SingleProcess())
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
    if frozen.any_frozen(model) and plan.config.adapter.name is not AdapterName.QLORA:  # that was trained beside 4 bits
        frozen.expect(checkpoint.folder, frozen.fingerprint(Learner(model), 0, 1))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    different = {*unexpected, *(trainable & set(missing))}
    assert not different, f"{checkpoint.shards} and the model differ in {sorted(different)}"
    return model
