"""Predictions: every answer of an evaluation with its prompt, its reference and its scores, a JSON line each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.config.evaluation import MetricName
from tunefleet.evaluation.metrics.answer_metrics import measured
from tunefleet.runs.validation import Sample

_OF_A_CORPUS = (MetricName.LABELS, MetricName.BLEU)  # of one answer they say little
_KEYS = {"split", "prompt", "reference", "answer"}


def write(path: Path, samples: Sequence[Sample], metrics: Sequence[MetricName]) -> None:
    """Replaces former predictions in `path`."""
    files.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(samples, metrics)))


def _rows(samples: Sequence[Sample], metrics: Sequence[MetricName]) -> Iterator[dict[str, Any]]:
    names = [metric for metric in metrics if metric not in _OF_A_CORPUS]
    for sample in samples:
        number = sample.log_probability
        is_known = number is not None and math.isfinite(number)
        yield {
            **{name: value for name, value in vars(sample).items() if name != "log_probability"},
            "log_probability": number if is_known else None,
            "exact_match": float(sample.is_exact_match),
            **measured(names, [sample.answer], [sample.reference]),
        }


def expect_free(path: Path) -> None:
    """Raises `ConfigError` where `path` is there and holds something else than predictions."""
    if path.exists() and not _is_ours(path):
        raise ConfigError(f"--to: {path} is there already, and holds no predictions. Name another file.")


def _is_ours(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8", opener=files.plain) as lines:
            first = next(lines, "")
        return not first or set(json.loads(first)) >= _KEYS
    except (OSError, ValueError, TypeError):
        return False
