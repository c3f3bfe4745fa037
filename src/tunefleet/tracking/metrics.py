"""metrics.jsonl: one JSON object a line, written before any other tracker gets it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import disk, files


class MetricsFile:
    """Appends records, each flushed. A run that resumes first drops what it will compute again:

    later steps, and the evaluation at the end (`final`), which follows the last checkpoint.
    """

    def __init__(self, path: Path, resumed_from: int) -> None:
        self._path = path
        _rewind(path, resumed_from)
        with disk.writing(path):
            self._stream = open(path, "a", encoding="utf-8", opener=files.no_link)

    def log(self, record: dict[str, Any]) -> None:
        """Appends one record. Raises `DiskError`."""
        line = json.dumps(record) + "\n"
        with disk.writing(self._path, len(line)):
            self._stream.write(line)
            self._stream.flush()

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Nothing: samples.jsonl has those of the end."""

    def rewind(self, step: int) -> None:
        """Drops the records of later steps, which come again."""
        self._stream.close()
        _rewind(self._path, step)
        self._stream = open(self._path, "a", encoding="utf-8", opener=files.no_link)

    def finish(self, summary: dict[str, Any]) -> None:
        """Closes the file; the summary is in status.json."""
        with disk.writing(self._path):
            self._stream.close()


def read(path: Path) -> list[dict[str, Any]]:
    """All records; a line that a crash or an accident broke is left out."""
    return _records(files.read_bytes(path)) if path.exists() else []


def read_from(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The records of whole lines from byte `offset` on, and the byte at which the next ones will be."""
    content = files.read_part(path, offset)
    complete = content[: content.rfind(b"\n") + 1]  # a line that is being written comes next time
    return _records(complete), offset + len(complete)


def _records(content: bytes) -> list[dict[str, Any]]:
    return [record for record in files.records(content) if isinstance(record.get("step"), int)]


def up_to(records: Iterable[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """The records that a run which resumes after `step` does not write again."""
    return [record for record in records if record["step"] <= step and not record.get("final")]


def evaluations(path: Path) -> list[dict[str, Any]]:
    """The records that hold what an evaluation measured, as `evaluation/SPLIT/loss`."""
    return [record for record in read(path) if any(key.startswith("evaluation/") for key in record)]


def best_losses(path: Path) -> dict[str, float]:
    """{"best/SPLIT/loss": the lowest of all evaluations so far}; NaN and infinity are never the best."""
    best: dict[str, float] = {}
    for record in evaluations(path):
        for key, value in record.items():
            split = key.removeprefix("evaluation/").removesuffix("/loss")
            if key == f"evaluation/{split}/loss" and math.isfinite(value):
                best[f"best/{split}/loss"] = min(value, best.get(f"best/{split}/loss", value))
    return best


def _rewind(path: Path, step: int) -> None:
    files.write_text(path, "".join(json.dumps(record) + "\n" for record in up_to(read(path), step)))
