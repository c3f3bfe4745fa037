"""Hands a run's model over: from its newest checkpoint to a folder that plain transformers loads."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.base import delivery
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import choice
from tunefleet.checkpoint.choice import Checkpoint
from tunefleet.config.adapter import AdapterName
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.engine import frozen, shards
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.plain import Alone, PlainModel
from tunefleet.model import build
from tunefleet.model.learner import Learner
from tunefleet.plan.families.tensor import dimension
from tunefleet.plan.plan import Plan
from tunefleet.runs import exported_model, hand_over, own_tokenizer, parts
from tunefleet.runs.exported_model import Expected


def export(plan: Plan, folder: Path | None = None) -> Path:
    """Writes the model of the newest checkpoint to `folder` (the run's own by default); needs no ranks.

    Raises `RunError` where the run has no checkpoint, or none that is as it was saved.
    """
    target = folder or plan.paths.export
    checkpoint = _checkpoint(plan)
    words = own_tokenizer.load(plan)
    template = parts.chat_template(plan, words, checkpoint.folder)
    weights = _weights(plan, checkpoint)
    model = _model(plan, checkpoint, weights, words)
    with delivery.staging(target) as staged:
        hand_over.stage(plan, staged, model, dict(model.state_dict()), words, template)
        expected = _expected(plan, staged, model, words, template)
        compared = hand_over.verify_and_deliver(plan, staged, target, checkpoint.state, expected)
    print(f"compared with what was trained: {exported_model.summary(compared)}", file=sys.stderr)
    return target


def _expected(plan: Plan, staged: Path, model: PreTrainedModel, words: Any, template: ChatTemplate) -> Expected:
    """What the export in `staged` must give again."""
    reason = exported_model.why_no_logits(plan) or exported_model.too_large(staged)
    rows = exported_model.sample_rows(words, model.config.get_text_config().vocab_size)
    logits = None if reason else exported_model.logits_of(PlainModel(Learner(model)), rows)
    return hand_over.expected(plan, words, template, [], rows=rows, logits=logits, no_logits=reason)


def exported(plan: Plan) -> Path:
    """The folder of the exported model, as it was written; written now where it is not there, or older than the newest
    checkpoint. Raises `RunError` where somebody changed it.
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
    step, saved = choice.latest(plan.paths.checkpoints)
    return (
        step > record.get("step", 0) or saved > record["written"] or record.get("merged") != plan.config.adapter.merge
    )


def _checkpoint(plan: Plan) -> Checkpoint:
    found = choice.newest(plan.paths.checkpoints, plan.identity, Alone())
    if found is None:
        raise RunError(f"{plan.paths.checkpoints}: no checkpoint there. Train first, or set checkpoint.at_end=true.")
    if found.note:
        print(f"tunefleet: {found.note}", file=sys.stderr)
    return found


def _model(plan: Plan, checkpoint: Checkpoint, weights: dict[str, Tensor], words: Any) -> PreTrainedModel:
    """The model with `weights`; those that did not learn come from where they came from when it was trained."""
    model = build.build(plan.sources, plan.config.train.seed, tokenizer=words)
    parts.learning(plan, model)
    model.to(next(iter(weights.values())).dtype)
    if frozen.any_frozen(model) and plan.config.adapter.name is not AdapterName.QLORA:  # that was trained beside 4 bits
        frozen.expect(checkpoint.folder, frozen.fingerprint(Learner(model), 0, 1))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    learnt = {name for name, weight in model.named_parameters() if weight.requires_grad}
    strange = {*unexpected, *(learnt & set(missing))}
    assert not strange, f"{checkpoint.shards} and the model differ in {sorted(strange)}"
    return model


def _weights(plan: Plan, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights in the number format that they were trained in; under ZeRO-3, the rounded masters."""
    if plan.config.parallel.zero_stage < 3:
        if plan.stages:
            state = _stages(checkpoint.shards)
        else:
            state = _joined(plan, [_module(checkpoint.shards, peer) for peer in range(plan.layout.tensor)])
    else:
        masters = shards.masters(checkpoint.shards, (checkpoint.folder / frozen.FILE).exists())
        state = {name: weight.to(torch_dtype(plan.config.train.precision)) for name, weight in masters.items()}
    return {name.removeprefix("model."): weight for name, weight in state.items()}


def _stages(folder: Path) -> dict[str, Tensor]:
    """The weights of all stages of a pipeline: DeepSpeed writes a file for each."""
    parts = [shards.read(file) for file in sorted(folder.glob("layer_*-model_states.pt"))]
    return {name.removeprefix("learner."): weight for part in parts for name, weight in part.items()}


def _module(folder: Path, peer: int) -> dict[str, Tensor]:
    """What tensor peer `peer` holds of the model."""
    module: dict[str, Tensor] = shards.read(folder / f"mp_rank_{peer:02d}_model_states.pt")["module"]
    return module


def _joined(plan: Plan, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The whole weights: divided ones are put together, the others are every peer's."""
    if len(parts) == 1:
        return parts[0]
    family = str(plan.sources.architecture.get("model_type"))
    dims = {name: dimension(family, name) for name in parts[0]}
    return {
        name: weight if (dim := dims[name]) is None else torch.cat([part[name] for part in parts], dim)
        for name, weight in parts[0].items()
    }
