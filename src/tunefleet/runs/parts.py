"""The parts of a run, built from its plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tunefleet.checkpoint import randomness
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.config.adapter import AdapterName
from tunefleet.config.data import Grouping
from tunefleet.contracts import Engine
from tunefleet.data import prepare as prepare_room
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.prepare import Prepared
from tunefleet.engine import pipeline, tensor
from tunefleet.engine.group import ProcessGroup
from tunefleet.engine.pipeline import PipelineEngine
from tunefleet.engine.zero import ZeroEngine
from tunefleet.model import adapters, build
from tunefleet.model.freeze import freeze
from tunefleet.model.learner import Learner
from tunefleet.model.stages import Stage
from tunefleet.model.vocabulary import check_vocabulary
from tunefleet.optim import build as optimizers
from tunefleet.optim.schedules import learning_rate
from tunefleet.plan.horizon import Horizon, horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs import hand_over, own_tokenizer, resumed


@dataclass(frozen=True)
class Material:
    """What a run reads: text turned into rows, and how long that makes it."""

    tokenizer: Any
    data: Prepared
    horizon: Horizon


def material(plan: Plan) -> Material:
    """Prepares data, or finds them prepared; before any process group exists."""
    words = own_tokenizer.load(plan)
    if rows := plan.sources.architecture.get("vocab_size"):
        check_vocabulary(rows, words)  # before hours of preparation; the model's own rows are counted when it is built
    data = prepare_room.prepare(plan.config.data, words, plan.config.train.sequence_length)
    return Material(words, data, horizon(plan, len(data.train)))


def engine(plan: Plan, group: ProcessGroup, read: Material) -> Engine:
    """The model under DeepSpeed; from scratch its weights depend on the seed alone."""
    config = plan.config
    whole = model(plan, read.tokenizer)
    if config.checkpoint.export and group.rank == 0:
        hand_over.expect_exportable(plan, whole, read.tokenizer, read.data.template)
    built = strategy(plan, group, whole, read.horizon)
    randomness.seed_all(config.train.seed, plan.layout.random_rank(group.rank))
    return built


def model(plan: Plan, words: Any) -> PreTrainedModel:
    """The model on the CPU, or still in its files, with what learns in it: all, all but what is frozen, an adapter."""
    config = plan.config
    four_bits = config.adapter.name is AdapterName.QLORA
    built = build.build(
        plan.sources,
        config.train.seed,
        config.train.gradient_checkpointing,
        as_filed=plan.reads_one_by_one and not config.adapter.dora and not four_bits,  # DoRA measures fp32 weights
        four_bits=four_bits,
        tokenizer=words,
    )
    learning(plan, built)
    return built


def learning(plan: Plan, model: PreTrainedModel) -> None:
    """Freezes what does not learn, and puts in the adapter."""
    config = plan.config
    if config.adapter.name is not AdapterName.NONE:
        base = config.model.path if plan.sources.weights else None
        adapters.attach(model, config.adapter, config.train.seed, base)
    elif config.model.freeze:
        freeze(model, config.model.freeze)


def strategy(plan: Plan, group: ProcessGroup, model: Any, steps: Horizon) -> Engine:
    """The engine that trains `model` (of transformers) as `parallel` says."""
    config = plan.config
    lengths = {"total": steps.total, "warmup": steps.warmup, "decay": steps.decay}
    rate = partial(learning_rate, config.schedule, config.optimizer.lr, **lengths)
    if plan.stages:
        stage = _stage(plan, group, model)
        tensor.divide(stage.model, plan, group)
        module = pipeline.joined(stage, plan.layout)
        optimizer = optimizers.build(config.optimizer, module, plan.cpu_adam)
        return PipelineEngine(plan, group, stage, module, optimizer, rate)
    tensor.divide(model, plan, group)
    learner = Learner(
        model,
        peers=group.peers(plan.layout.sequence),
        tile=config.train.loss_tile,
        agree=group.agree if config.parallel.zero_stage == 3 else int,
    )
    return ZeroEngine(plan, group, learner, optimizers.build(config.optimizer, learner, plan.cpu_adam), rate)


def _stage(plan: Plan, group: ProcessGroup, model: Any) -> Stage:
    """This rank's stage of the pipeline; the rest of `model` is let go."""
    number = plan.layout.stage(group.rank)
    return Stage(model, plan.stages[number], plan.stages[number + 1], plan.config.train.loss_tile)


def batches(plan: Plan, group: ProcessGroup, read: Material, position: int) -> OrderedBatches:
    """This rank's training rows from `position` on."""
    config = plan.config.data
    return OrderedBatches(
        read.data.train,
        plan.batch,
        plan.layout.data_rank(group.rank),
        seed=plan.config.train.seed,
        pad=read.tokenizer.pad_token_id,
        packed=config.packing,
        position=position,
        grouping=Grouping.NEVER if config.packing else config.group_by_length,
        workers=config.workers,
    )


def chat_template(plan: Plan, words: Any, checkpoint: Path) -> ChatTemplate:
    """The template that `checkpoint` (a folder) was trained with: a file of the person's may have changed since."""
    saved = checkpoint / resumed.CHAT_TEMPLATE
    if saved.exists():
        return replace(prepare_room.own_template(words), source=saved.read_text(encoding="utf-8"))
    return prepare_room.chat_template(plan.config.data, words)


def stops(template: ChatTemplate, words: Any) -> tuple[int, ...]:
    """The tokens at which an answer ends: the tokenizer's end of sequence, the template's end of turn."""
    return end_of_turn(template, words).stops


def store(plan: Plan, group: ProcessGroup, read: Material) -> CheckpointStore:
    """The checkpoints of the run; each holds the chat template that it was trained with, and what computed it."""
    texts = resumed.texts(plan, read.data.template.source)
    config = plan.config
    return CheckpointStore(
        plan.paths.checkpoints, plan.identity, group, config.checkpoint.keep, texts, config.train.seed
    )
