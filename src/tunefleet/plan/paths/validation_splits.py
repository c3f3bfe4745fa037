"""Validation splits: their names, and those of the metrics that an evaluation measures of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tunefleet.base import own_code
from tunefleet.config import RunConfig
from tunefleet.config.data import DataConfig
from tunefleet.config.evaluation import VALUES_OF
from tunefleet.plan.paths import data_files

DEMO = ("unseen_sentences", "unseen_values", "unseen_templates", "unseen_words")
OF_ROWS = ("loss", "perplexity")
"""What is measured of every split."""
OF_ANSWERS = tuple(name for names in VALUES_OF.values() for name in names)
"""What may be measured of answers; more of it is better."""


def names(config: DataConfig) -> Sequence[str]:
    """The names of the splits that are read or held out, in the order in which they are measured."""
    if config.path == data_files.DEMO:
        return DEMO if config.validation_rows else ()
    if data_files.validation(config):
        return ["validation"]
    if not (config.validation_rows or config.validation_share):
        return []
    return mixed(config) if config.mix else ["validation"]


def mixed(config: DataConfig) -> Sequence[str]:
    """A name for each source of a mixture: its own, else from its path; none twice, and none is `train` or `test`."""
    names: list[str] = []
    for number, source in enumerate(config.mix, 1):
        name = re.sub(r"[^\w.-]+", "_", source.name or Path(str(source.path)).name.split(".")[0]).strip("_.")
        names.append(f"{name}_{number}".strip("_") if name in ("", "train", "test", *names) else name)
    return names


def metrics(config: RunConfig) -> list[str]:
    """Every metric, as `SPLIT/loss`."""
    measures = [*OF_ROWS, *(name for metric in config.evaluation.metrics for name in VALUES_OF[metric])]
    measures += [own_code.object_name(name) for name in config.evaluation.own_metrics]
    return [f"{split}/{measure}" for split in names(config.data) for measure in measures]


def measuring(name: str) -> list[str]:
    """The names for `evaluation.metrics` that measure `SPLIT/name`; [] of what no metric measures."""
    return [metric.value for metric, values in VALUES_OF.items() if name.rpartition("/")[2] in values]


def is_of_answers(name: str) -> bool:
    """Whether answers are generated to measure it."""
    return name.rpartition("/")[2] not in OF_ROWS


def metric(name: str, available: Iterable[str]) -> str | None:
    """The one of `available` that `name` stands for; `loss` alone is the first split's. None where it is none."""
    name = name.removeprefix("evaluation/")
    return next((metric for metric in available if metric == name or metric.partition("/")[2] == name), None)


def answers_needed(config: RunConfig) -> bool:
    """Whether answers decide what is kept, or when the run stops: every evaluation generates them then."""
    stopping = config.train.early_stopping
    deciding = [config.checkpoint.metric] * bool(config.checkpoint.keep_best)
    deciding += [stopping.metric] * (stopping.patience is not None)
    return any(is_of_answers(name) for name in deciding)


def cost(metric: str, value: float) -> float:
    """`value` with the sign that makes smaller ones better."""
    return -value if is_of_answers(metric) else value
