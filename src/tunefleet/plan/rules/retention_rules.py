"""Rules of what decides by a metric: which checkpoints stay on how much disk, and when a run stops early."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunefleet.base.units import size
from tunefleet.config import RunConfig
from tunefleet.config.checkpoint import CheckpointConfig
from tunefleet.config.train import EarlyStoppingConfig
from tunefleet.plan.estimate.checkpoint_size import checkpoint_bytes
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths import validation_splits


def metrics(config: RunConfig) -> list[str]:
    """A metric is one that an evaluation measures."""
    checkpoint, stopping = config.checkpoint, config.train.early_stopping
    complaints: list[str] = []
    if checkpoint.keep_best or checkpoint.metric != CheckpointConfig().metric:
        complaints += _metric(config, "checkpoint.metric", checkpoint.metric)
    if stopping.patience or stopping.metric != EarlyStoppingConfig().metric:
        complaints += _metric(config, "train.early_stopping.metric", stopping.metric)
    return complaints


def _metric(config: RunConfig, key: str, name: str) -> Iterator[str]:
    available = validation_splits.metrics(config)
    if not available:
        yield f"{key}: there are no validation rows to measure {name} of. Set data.validation_rows or validation_path."
    elif validation_splits.metric(name, available) is None:
        more = "".join(f" evaluation.metrics=[{metric}] measures it." for metric in validation_splits.measuring(name))
        yield f"{key}: {name!r} is measured by no evaluation.{more} There are: {', '.join(available)}."
    elif validation_splits.is_of_answers(name) and config.evaluation.generate_rows == 0:
        yield f"{key}: {name} needs answers. Set evaluation.generate_rows=20, or another metric."


def evaluations(config: RunConfig) -> list[str]:
    """What decides on the way must be measured on the way."""
    every = config.evaluation.every
    if every is not None and not every.is_never:
        return []
    deciding = {
        "checkpoint.keep_best": config.checkpoint.keep_best,
        "train.early_stopping.patience": config.train.early_stopping.patience,
    }
    return [
        f"{key}={value}: nothing is measured before the end. Set evaluation.every=10%, or leave it out."
        for key, value in deciding.items()
        if value
    ]


def disk_budget(config: RunConfig, architecture: Architecture) -> Sequence[str]:
    """What must be there while a checkpoint is saved has room: the newest, the one being written, and the best."""
    budget = config.checkpoint.disk_budget
    if (
        budget is None or config.model.freeze or config.model.train_only
    ):  # how many weights it freezes only the model knows
        return []
    try:
        one_checkpoint = checkpoint_bytes(config, architecture)
    except ValueError:
        return []
    number = 3 if config.checkpoint.keep_best else 2
    if number * one_checkpoint <= budget.bytes:
        return []
    best = ", and the best" if config.checkpoint.keep_best else ""
    return [
        f"checkpoint.disk_budget: {budget} is less than {number} checkpoints of about {size(one_checkpoint)}, and so "
        f"many are there while one is saved: the newest, the one being written{best}. "
        f"Set {size(round(1.1 * number * one_checkpoint))}."
    ]


def notes(config: RunConfig) -> Iterator[str]:
    """Settings without effect, and a clock that decides."""
    stopping, default = config.train.early_stopping, EarlyStoppingConfig()
    if stopping.patience is None and (stopping.metric, stopping.min_delta) != (default.metric, default.min_delta):
        yield "train.early_stopping is not used without train.early_stopping.patience."
    if stopping.patience and config.evaluation.every and config.evaluation.every.minutes:
        yield "evaluation.every counts minutes: the step at which the run stops early depends on its speed."
