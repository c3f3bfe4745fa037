"""What a person is told about a run: the card before it starts, and the lines after it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tunefleet.base.units import clock, count
from tunefleet.config.adapter import AdapterName
from tunefleet.model.vocabulary import other_ids
from tunefleet.plan.choose import on_oom
from tunefleet.plan.plan import Plan
from tunefleet.runs import prepared
from tunefleet.runs.examine import Sample
from tunefleet.runs.parts import Material


def data_rows(plan: Plan, read: Material) -> dict[str, str]:
    """What the data add to the plan."""
    card, steps = read.data.train.card, read.horizon
    epochs = steps.total / steps.steps_per_epoch
    others = other_ids(plan.sources.architecture, read.tokenizer)
    special = ", ".join(f"{name} {ids[1]} (not {ids[0]})" for name, ids in others.items())
    return {
        **prepared.rows(plan, read.data),
        **({"special tokens": f"the tokenizer's: {special}"} if special else {}),
        "steps": f"{steps.total:,} = {epochs:.3g} epochs of {card.rows:,} rows / {plan.batch.total} rows a step, "
        f"warm-up {steps.warmup}",
    }


def measured(plan: Plan, read: Material) -> dict[str, str]:
    """What an evaluation is of: data, rows and precision."""
    config, splits = plan.config, read.data.validation.items()
    merged = ", with the adapter added to the weights" if config.adapter.name is not AdapterName.NONE else ""
    return {
        "data": config.data.name,
        **{f"{name.replace('_', ' ')} rows": _share(len(split), config.evaluation.max_rows) for name, split in splits},
        "precision": f"{config.train.precision.value}, as in training{merged}",
    }


def _share(rows: int, limit: int | None) -> str:
    """How many rows of a split enter the loss."""
    return f"{rows:,}" if limit is None or limit >= rows else f"{limit:,} of {rows:,}, drawn evenly"


def numbers(record: dict[str, Any]) -> dict[str, float]:
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
    if f"{prefix}/exact_match" in record:
        parts.append(f"{record[f'{prefix}/exact_match']:.1%} of {record[f'{prefix}/answers']} answers exactly right")
    return ", ".join(parts)


def samples(plan: Plan, answered: Sequence[Sample]) -> list[str]:
    """The first questions with the model's answers, and the wanted ones where they differ."""
    lines = []
    for sample in answered[: plan.config.evaluation.samples]:
        lines += [f"  {short(sample.question)}", f"    -> {short(sample.said)}"]
        lines += [] if sample.right else [f"    != {short(sample.wanted)}"]
    return lines


def short(text: str, width: int = 110) -> str:
    """`text` on one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 3]}..."


def finished(seconds: float, tokens: int) -> str:
    """How long it took."""
    return f"trained {count(tokens)} tokens in {clock(seconds)}, {count(tokens / max(seconds, 1e-9))} tokens/s"


def next_commands(plan: Plan) -> list[str]:
    """Three things to try now."""
    run = os.path.relpath(plan.run_dir)
    return [
        f"tunefleet chat {run}",
        f"tunefleet evaluate {run}",
        "tunefleet train -m optimizer.lr=1e-3,3e-3 train.max_steps=20",
    ]


def out_of_memory(plan: Plan, error: BaseException, peak: float) -> str:
    """What ran out, the numbers, and the next setting."""
    expected = f", and {plan.expected.peak:.2f} GiB were foreseen" if plan.expected else ""
    return (
        f"out of memory with {plan.batch} of {plan.config.train.sequence_length} tokens: this process held up to "
        f"{peak:.2f} GiB{expected}. {str(error).splitlines()[0]} Next: {on_oom.next_setting(plan)}."
    )
