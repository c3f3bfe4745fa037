"""Run summary: the console's lines on data and steps before a run starts, and on results after it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tunefleet.base.units import clock, count, singular
from tunefleet.config.adapter import AdapterName
from tunefleet.config.evaluation import VALUES_OF, metric_text
from tunefleet.data.store.dataset import Dataset
from tunefleet.launch.ending import Ending
from tunefleet.model.vocabulary import other_ids
from tunefleet.plan.choose import on_oom
from tunefleet.plan.plan import Plan
from tunefleet.runs import data_summary
from tunefleet.runs.inputs import RunInputs
from tunefleet.runs.validation import Sample


def data_rows(plan: Plan, inputs: RunInputs) -> dict[str, str]:
    """What the data add to the plan."""
    card, steps = inputs.data.train.card, inputs.horizon
    epochs = singular(f"{steps.total / steps.steps_per_epoch:.3g} epochs")
    special_ids = other_ids(plan.sources.architecture.config, inputs.tokenizer)
    differences = ", ".join(f"{name} {ids[1]} (not {ids[0]})" for name, ids in special_ids.items())
    return {
        **data_summary.rows(plan, inputs.data),
        **({"special tokens": f"the tokenizer's: {differences}"} if differences else {}),
        "steps": f"{steps.total:,} = {epochs} of {card.sequences:,} sequences / {plan.batch.total} "
        f"sequences a step, warm-up {steps.warmup}",
    }


def evaluation_facts(plan: Plan, splits: Mapping[str, Dataset]) -> dict[str, str]:
    """What an evaluation is of: data, sequences and precision."""
    config = plan.config
    limit = config.evaluation.max_rows
    merged = ", with the adapter added to the weights" if config.adapter.name is not AdapterName.NONE else ""
    return {
        "data": config.data.name,
        **{f"{name.replace('_', ' ')} rows": _row_count(len(split), limit) for name, split in splits.items()},
        "precision": f"{config.train.precision.value}, as in training{merged}",
    }


def _row_count(rows: int, limit: int | None) -> str:
    """How many rows of a split enter the loss."""
    return f"{rows:,}" if limit is None or limit >= rows else f"{limit:,} of {rows:,}, drawn evenly"


def split_metrics(record: dict[str, Any]) -> dict[str, float]:
    """{"SPLIT/loss": ..., "SPLIT/exact_match": ...} of an evaluation, for status.json."""
    prefix = "evaluation/"
    return {key.removeprefix(prefix): value for key, value in record.items() if key.startswith(prefix)}


def results(record: dict[str, Any]) -> dict[str, str]:
    """The evaluation, a line for each split."""
    splits = sorted({key.split("/")[1] for key in record if key.startswith("evaluation/")})
    return {split.replace("_", " "): _split(record, f"evaluation/{split}") for split in splits}


def _split(record: dict[str, Any], prefix: str) -> str:
    parts = []
    if f"{prefix}/loss" in record:
        parts.append(f"loss {record[f'{prefix}/loss']:.4f}, perplexity {record[f'{prefix}/perplexity']:.4g}")
    values = [name for names in VALUES_OF.values() for name in names if f"{prefix}/{name}" in record]
    parts += [metric_text(name, record[f"{prefix}/{name}"]) for name in values]
    standard = {"loss", "perplexity", "answers", "threshold", *values}
    measures = [key.removeprefix(f"{prefix}/") for key in record if key.startswith(f"{prefix}/")]
    parts += [f"{name.replace('_', ' ')} {record[f'{prefix}/{name}']:.4g}" for name in measures if name not in standard]
    answers = f" of {record[f'{prefix}/answers']} answers" if values else ""
    threshold = record.get(f"{prefix}/threshold")
    return ", ".join(parts) + answers + ("" if threshold is None else f", threshold {threshold:.3g}")


def sample_lines(plan: Plan, samples: Sequence[Sample], width: int | None = None) -> list[str]:
    """The first questions with the model's answers, and the data's where they differ; in lines of `width` at most."""
    lines: list[str] = []
    room = _LONGEST_SAMPLE if width is None else min(_LONGEST_SAMPLE, max(20, width - 7))
    for sample in samples[: plan.config.evaluation.samples]:
        lines += [f"  {on_one_line(sample.question, room)}", f"    -> {on_one_line(sample.answer, room)}"]
        lines += [] if sample.is_exact_match else [f"    != {on_one_line(sample.reference, room)}"]
    return lines


_LONGEST_SAMPLE = 110


def on_one_line(text: str, width: int = _LONGEST_SAMPLE) -> str:
    """`text` on one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 3]}..."


def finished(seconds: float, tokens: int) -> str:
    """How long it took."""
    return f"trained {count(tokens)} tokens in {clock(seconds)}, {count(tokens / max(seconds, 1e-9))} tokens/s"


def left_for_sweep(plan: Plan, outcome: Ending, step: int, total_steps: int) -> str:
    """Where a run is paused or pruned, and how a user lets it train on."""
    reason = f": {outcome.reason}" if outcome.reason else ""
    return (
        f"{outcome.state.value} at step {step} of {total_steps}{reason}; saved. "
        f"To train on to the end: tunefleet resume {os.path.relpath(plan.run_dir)}"
    )


def best_checkpoint(plan: Plan, best: Mapping[str, float]) -> str:
    """Which checkpoint is the best, and how it is exported; empty where none is, or that is the last one."""
    if not plan.config.checkpoint.keep_best or not best:
        return ""
    step, (metric, value) = best["step"], next(item for item in best.items() if item[0] != "step")
    command = f"tunefleet export {os.path.relpath(plan.run_dir)} --checkpoint best"
    return f"best checkpoint: step {step}, {metric} {value:.4f}; {command}"


def next_commands(plan: Plan) -> list[str]:
    """Three things to try now."""
    run = os.path.relpath(plan.run_dir)
    return [
        f"tunefleet chat {run}",
        f"tunefleet evaluate {run}",
        "tunefleet train -m optimizer.lr=1e-3,3e-3 train.max_steps=20",
    ]


def out_of_memory(plan: Plan, error: BaseException, peak: float) -> str:
    """The message for a run without enough memory: the numbers, and the next setting."""
    expected = f", and {plan.expected.peak:.2f} GiB were expected" if plan.expected else ""
    return (
        f"out of memory with {plan.batch} of {plan.config.train.sequence_length} tokens: this process held up to "
        f"{peak:.2f} GiB{expected}. {str(error).splitlines()[0]} Next: {on_oom.next_setting(plan)}."
    )
