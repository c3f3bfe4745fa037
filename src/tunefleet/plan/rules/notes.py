"""Notes: what is worth knowing about a run although nothing is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

from tunefleet.config import RunConfig
from tunefleet.config.model import Init
from tunefleet.config.train import Precision
from tunefleet.plan.deepspeed.config import sums_16bit_gradients
from tunefleet.plan.paths import generation_file
from tunefleet.plan.paths.model_files import Sources
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.rules import offload_rules, optimizer_rules, pipeline_rules, retention_rules, unused_settings

_FOR_FINE_TUNING = 1e-4  # below it


def notes(config: RunConfig, layout: Layout, sources: Sources, batch: Batch, cpu_adam: bool) -> tuple[str, ...]:
    """All of it, for the summary of the run."""
    return (
        *pipeline_rules.notes(config.parallel, layout, batch),
        *_length(config),
        *_processes(config, layout),
        *from_scratch(config),
        *unused_settings.notes(config),
        *_tokenizer(config, sources),
        *filter(None, [generation_file.note(sources.weights)]),
        *offload_rules.notes(config.parallel, layout),
        *optimizer_rules.notes(config, cpu_adam),
        *retention_rules.notes(config),
    )


def _length(config: RunConfig) -> Iterator[str]:
    if config.train.max_steps and config.train.epochs != 1.0:
        yield f"train.epochs={config.train.epochs:g} is not used: train.max_steps is set."


def _processes(config: RunConfig, layout: Layout) -> Iterator[str]:
    if config.parallel.zero_stage and layout.replicas == 1:
        yield f"{config.parallel.name} shards nothing: there is one copy of the model."
    if sums_16bit_gradients(config.parallel, config.train, layout) and layout.device == "cuda":
        dtype = config.train.precision.value
        yield f"gradients are summed over {layout.replicas} GPUs in fp32: exact, and twice the traffic of {dtype}."
    if layout.processes_here % layout.tensor:
        yield "tensor-parallel ranks are on different machines, and every layer waits for the network between them."


def from_scratch(config: RunConfig) -> list[str]:
    """What is usual for a model from scratch: defaults are for fine-tuning, and a recipe of its own sets others."""
    if config.model.init is not Init.RANDOM or config.optimizer.name.value in ("sgd", "adagrad"):
        return []
    if config.optimizer.lr >= _FOR_FINE_TUNING:
        return []
    is_bf16 = config.train.precision is Precision.BF16
    settings = f"optimizer.lr={config.optimizer.lr:g}" + (" and bf16 are" if is_bf16 else " is")
    usual = "optimizer.lr=3e-4 to 3e-3 is usual there" + (
        ", and train.precision=fp32 for a small one" if is_bf16 else ""
    )
    return [f"{settings} for fine-tuning, and this model starts from scratch: {usual}."]


def _tokenizer(config: RunConfig, sources: Sources) -> Iterator[str]:
    if config.model.init is Init.RANDOM and config.model.path and config.model.tokenizer is None:
        yield f"the tokenizer is {sources.tokenizer}."
