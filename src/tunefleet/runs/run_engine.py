"""Engine of a run: ZeRO or a pipeline around the model, with its optimizer and learning rate."""

from __future__ import annotations

from functools import partial
from typing import Any

from tunefleet.checkpoint import rng
from tunefleet.contracts import Engine
from tunefleet.engine import pipeline, tensor_parallel
from tunefleet.engine.group import ProcessGroup
from tunefleet.engine.pipeline import PipelineEngine
from tunefleet.engine.zero import ZeroEngine
from tunefleet.model import varlen_attention
from tunefleet.model.learner import Learner
from tunefleet.model.stages import Stage
from tunefleet.optim.build_optimizer import build_optimizer
from tunefleet.optim.schedules import learning_rate
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs import export_format
from tunefleet.runs.inputs import RunInputs
from tunefleet.runs.trainable_model import build_model


def build_engine(plan: Plan, group: ProcessGroup, inputs: RunInputs) -> Engine:
    """The plan's model under DeepSpeed; from scratch its weights depend on the seed alone."""
    model = build_model(plan, inputs.tokenizer)
    if plan.config.checkpoint.export and group.rank == 0:
        export_format.expect_exportable(plan, model, inputs.tokenizer, inputs.data.template)
    engine = engine_for(plan, group, model, inputs.horizon)
    rng.seed_all(plan.config.train.seed, plan.layout.rng_rank(group.rank))
    return engine


def engine_for(plan: Plan, group: ProcessGroup, model: Any, steps: Horizon) -> Engine:
    """The engine that trains `model` (of transformers) as `parallel` says."""
    config = plan.config
    if plan.by_document and plan.layout.device == "cuda":
        varlen_attention.kernel()  # or it is refused, before anything is trained
    lengths = {"total": steps.total, "warmup": steps.warmup, "decay": steps.decay}
    rate = partial(learning_rate, config.schedule, config.optimizer.lr, **lengths)
    if plan.stages:
        stage = _stage(plan, group, model)
        tensor_parallel.shard_layers(stage.model, plan, group)
        module = pipeline.joined(stage, plan.layout)
        optimizer = build_optimizer(config.optimizer, module, plan.cpu_adam)
        return PipelineEngine(plan, group, stage, module, optimizer, rate)
    tensor_parallel.shard_layers(model, plan, group)
    learner = Learner(
        model,
        sp_group=group.adjacent_ranks(plan.layout.sequence),
        tile=config.train.loss_tile,
        agree=group.agree if config.parallel.zero_stage == 3 else int,
        by_document=plan.by_document,
    )
    return ZeroEngine(
        plan, group, learner, build_optimizer(config.optimizer, learner, plan.cpu_adam, config.adapter.lr_ratio_b), rate
    )


def _stage(plan: Plan, group: ProcessGroup, model: Any) -> Stage:
    """This rank's stage of the pipeline; the rest of `model` is freed."""
    number = plan.layout.stage(group.rank)
    first, end = plan.stages[number : number + 2]
    return Stage(model, first, end, plan.config.train.loss_tile, plan.by_document)
