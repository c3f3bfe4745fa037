"""Batch of a step: micro-batch, accumulation and processes of another tool as our global batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.imports import strategy_names
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import Kind, as_int
from tunefleet.imports.tool import Source


def put_trainer_batch(
    values: Mapping[str, Any], draft: Draft, source: Source, micro: int, stated: int | None = None
) -> None:
    """The same by the names of TrainingArguments; a process takes `micro` sequences where the file does not say."""
    names = ("per_device_train_batch_size", "gradient_accumulation_steps")
    sequences, accumulation = as_int(values.get(names[0], micro)), as_int(values.get(names[1], 1))
    put_batch(draft, sequences, accumulation, source, names, stated)


def put_batch(
    draft: Draft, micro: int, accumulation: int, source: Source, names: tuple[str, str], stated: int | None = None
) -> None:
    """The sequences of one process and of a step; `names` are the options of the first two.

    Processes are the user's, those that the file has `stated`, or those of the machine that is planned for; else one.
    """
    copies = strategy_names.degrees(draft)
    table = source.processes or stated
    ranks = max(table or source.machine_processes or 1, copies)
    draft.put("train.micro_batch", micro, names[0])
    text = f"{names[0]} {micro} x {names[1]} {accumulation} x {ranks // copies} processes"
    draft.put("train.global_batch", micro * accumulation * (ranks // copies), text)
    if table or not source.machine_processes:
        draft.default("launch.processes", ranks, "processes" if table else "processes are in no option")
    if not table and not source.machine_processes:
        note = f"are in no option: the file is taken to have trained on {ranks}; --processes N if there were more"
        draft.remark("processes", Kind.INERT, note)
