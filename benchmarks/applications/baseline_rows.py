"""Baseline rows: what the simplest methods are trained with, and the rows of each split that they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.applications import rows
from benchmarks.applications.catalogue import Application
from benchmarks.applications.rows import Row
from tunefleet.data.demo import generate
from tunefleet.data.formats.slot_marks import with_slots
from tunefleet.data.read.source_row import Row as SourceRow

DEMO_ROWS = 54_000
"""The demo's training rows: `max_rows` of conf/data/demo.yaml."""
_DEMO_TEST_ROWS = 200  # `data.validation_rows`, of each split


def of(chosen: Application, folder: Path) -> tuple[Sequence[Row], Mapping[str, Sequence[Row]]]:
    """(training rows, {split: its rows}) of `text` and `label`, or of `source` and `target`.

    Where rows were augmented, training rows are those of the public set alone.
    """
    if chosen.folder is None:
        return _demo("train"), {split: _demo(split) for split in chosen.splits}
    data = folder / chosen.folder
    original = data / "original.jsonl"
    train = rows.read(original if original.is_file() else data / "train.jsonl")
    return _as_trained(chosen, train), {
        split: _as_trained(chosen, rows.read(data / f"{split}.jsonl")) for split in chosen.splits
    }


def _demo(split: str) -> list[Row]:
    drawn = generate.rows(split, DEMO_ROWS if split == "train" else _DEMO_TEST_ROWS)
    return [{"source": row["prompt"], "target": row["completion"]} for row in drawn]


def _as_trained(chosen: Application, pairs: Sequence[Row]) -> Sequence[Row]:
    """Reversed where the application is; a command's target is the JSON that its run is trained to answer."""
    if chosen.is_reversed:
        return [{"source": row["target"], "target": row["source"]} for row in pairs]
    if "slots" in pairs[0]:
        return [{"source": row["text"], "target": with_slots(row["label"], SourceRow(row, "a row"))} for row in pairs]
    return pairs
