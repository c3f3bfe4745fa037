"""A project of a user's: a tracker, a metric and a callback of `test_train.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Mine:
    """Writes what it gets into `mine.jsonl`; it has no `rewind` and no `samples`."""

    def __init__(self, run_dir: Path, settings: Mapping[str, Any]) -> None:
        self._path = run_dir / "mine.jsonl"
        self._note({"lr": settings["optimizer"]["lr"]})

    def log(self, record: Mapping[str, Any]) -> None:
        self._note(record)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._note({"state": summary["state"]})

    def _note(self, record: Mapping[str, Any]) -> None:
        with open(self._path, "a") as stream:
            stream.write(json.dumps(record) + "\n")


def longer(answers: Sequence[str], references: Sequence[str]) -> float:
    """How many characters more the answers have than the references."""
    return float(sum(map(len, answers)) - sum(map(len, references)))


def watch(step: int, numbers: Mapping[str, Any]) -> bool:
    """Notes the loss of each step, and asks to stop after the fifth."""
    with open(numbers["run_dir"] / "watched.jsonl", "a") as stream:
        stream.write(json.dumps({"step": step, "train/loss": numbers["loss"]}) + "\n")
    return step == 5
