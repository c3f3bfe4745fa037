"""Answers that `evaluation.generate_rows=auto` generates at the end of a run: how many."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.config import RunConfig
from tunefleet.config.evaluation import ALL, AUTO, EvaluationConfig
from tunefleet.plan.paths.validation_splits import answers_needed
from tunefleet.plan.processes.layout import Layout

FEW = 5
_CHEAP = {"cpu": 100_000_000, "cuda": 10_000_000_000}
"""Parameters up to which 5 answers of 128 tokens take seconds: every token reads all weights once."""


def resolved(config: RunConfig, degrees: Layout, parameters: int | None) -> RunConfig:
    """`config` with a number of answers."""
    if config.evaluation.generate_rows != AUTO:
        return config
    rows = FEW if answers_needed(config) or is_cheap(config, degrees, parameters) else 0
    return replace(config, evaluation=replace(config.evaluation, generate_rows=rows))


def is_cheap(config: RunConfig, degrees: Layout, parameters: int | None) -> bool:
    """Whether every process has the whole model, and it is small for its device."""
    is_whole = config.parallel.zero_stage < 3 and degrees.tensor * degrees.pipeline == 1
    return is_whole and parameters is not None and parameters <= _CHEAP[degrees.device]


def describe(config: EvaluationConfig) -> str:
    """What is measured and when, for the summary of a run."""
    loss = f"loss every {config.every.text}, and" if config.every and not config.every.is_never else "loss"
    named = {ALL: "all", 0: f"no answers (evaluation.generate_rows={FEW} generates some)"}
    answers = named.get(config.generate_rows, str(config.generate_rows))
    return f"{loss} at the end; {answers}" + (" answers of each split" if config.generate_rows else "")
