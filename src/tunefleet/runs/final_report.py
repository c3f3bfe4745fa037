"""Final report of a run: its samples and loss curve as files, its results on the console."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tunefleet.base import files
from tunefleet.plan.plan import Plan
from tunefleet.runs import run_summary
from tunefleet.runs.validation import Sample
from tunefleet.tracking import metrics, plots
from tunefleet.tracking.console import Console

_SHOWN = ("split", "question", "reference", "answer")
_STEPS_OF_A_CURVE = 20  # with fewer a chart shows nothing that the lines above it do not


def write_report(plan: Plan, samples: Sequence[Sample]) -> None:
    """Writes samples.jsonl and the picture of the losses into the run directory."""
    files.write_text(plan.paths.samples, "".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
    plots.picture(metrics.read(plan.paths.metrics), plan.paths.curve, plan.name)


def shown_samples(plan: Plan, samples: Sequence[Sample]) -> list[dict[str, str]]:
    """The first samples, for trackers: split, question, reference, answer."""
    shown = samples[: plan.config.evaluation.samples]
    return [{key: str(getattr(sample, key)) for key in _SHOWN} for sample in shown]


def print_report(
    plan: Plan, console: Console, record: dict[str, Any], samples: Sequence[Sample], seconds: float, tokens: int
) -> None:
    """Prints the loss curve of a run that is no short one, the time, the results of every split, the first samples."""
    records = metrics.read(plan.paths.metrics)
    if len([record for record in records if "train/loss" in record]) >= _STEPS_OF_A_CURVE:
        console.print_line("\n" + plots.terminal(records, min(plots.WIDTH, console.width or plots.WIDTH)))
    console.print_line("\n" + run_summary.finished(seconds, tokens))
    console.print_table(run_summary.results(record))
    for line in run_summary.sample_lines(plan, samples, console.width):
        console.print_line(line)


def print_places(plan: Plan, console: Console, places: Mapping[str, str]) -> None:
    """Prints where the model is, and where the trackers have the run."""
    export = {"export": os.path.relpath(plan.paths.export)} if plan.paths.export.exists() else {}
    if export or places:
        console.print_line("")
        console.print_table({**export, **places})


def print_next_commands(plan: Plan, console: Console) -> None:
    """Prints what can be tried now."""
    console.print_line("\nnext:")
    for command in run_summary.next_commands(plan):
        console.print_line(f"  {command}")
