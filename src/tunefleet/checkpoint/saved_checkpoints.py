"""Saved checkpoints: step, size and metric of each that counts, from their manifests; no byte of them is verified."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from tunefleet.checkpoint import checkpoint_manifest, folders
from tunefleet.checkpoint.checkpoint_manifest import Manifest
from tunefleet.checkpoint.retention import SavedCheckpoint
from tunefleet.plan.paths import validation_splits

Evaluations = Mapping[int, Mapping[str, float]]
"""What was measured, by step: `SPLIT/loss` and others."""


def saved_checkpoints(folder: Path, metric: str, evaluations: Evaluations) -> list[SavedCheckpoint]:
    """Those below `folder`, with their `metric`, by step; one whose manifest cannot be read is left out.

    A manifest has what was measured before it was saved; for those measured afterwards there are `evaluations`.
    """
    saved = []
    for path in folders.checkpoints(folder):
        try:
            manifest = checkpoint_manifest.read(path)
        except ValueError:
            continue
        cost = _cost(manifest, metric, evaluations)
        saved.append(SavedCheckpoint(path.name, manifest.state.step, manifest.size, manifest.saved, cost))
    return saved


def _cost(manifest: Manifest, metric: str, evaluations: Evaluations) -> float | None:
    value = {**evaluations.get(manifest.state.step, {}), **manifest.evaluation}.get(metric)
    return validation_splits.cost(metric, value) if value is not None and math.isfinite(value) else None
