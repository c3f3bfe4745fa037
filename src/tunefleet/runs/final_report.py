"""Final report of a run: its samples and loss curve as files, its results on the console."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tunefleet.base import files
from tunefleet.plan.plan import Plan
from tunefleet.runs import run_summary
from tunefleet.runs.validation import Sample
from tunefleet.tracking import metrics, plots
from tunefleet.tracking.console import Console


def write_report(plan: Plan, samples: Sequence[Sample]) -> None:
    """Writes samples.jsonl and the picture of the losses into the run directory."""
    files.write_text(plan.paths.samples, "".join(json.dumps(asdict(sample)) + "\n" for sample in samples))
    plots.picture(metrics.read(plan.paths.metrics), plan.paths.curve, plan.name)


def shown_samples(plan: Plan, samples: Sequence[Sample]) -> list[dict[str, str]]:
    """The first samples, for trackers: split, question, reference, answer."""
    return [asdict(sample) for sample in samples[: plan.config.evaluation.samples]]


def print_report(
    plan: Plan, console: Console, record: dict[str, Any], samples: Sequence[Sample], seconds: float, tokens: int
) -> None:
    """Prints the loss curve, the time, the results of every split and the first samples."""
    console.print_line("\n" + plots.terminal(metrics.read(plan.paths.metrics)))
    console.print_line("\n" + run_summary.finished(seconds, tokens))
    console.print_table(run_summary.results(record))
    for line in run_summary.sample_lines(plan, samples):
        console.print_line(line)


def print_next_commands(plan: Plan, console: Console) -> None:
    """Prints what can be tried now."""
    console.print_line("\nnext:")
    for command in run_summary.next_commands(plan):
        console.print_line(f"  {command}")
