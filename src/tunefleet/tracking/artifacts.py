"""Artifacts: files of a finished run that trackers keep beside its numbers, where the user asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunefleet.config.tracking import ArtifactName
from tunefleet.plan.plan import Plan

SECONDS_TO_SEND = 600.0
"""What the end of a run waits for, where files are sent: a model takes longer than numbers."""


def of_run(plan: Plan) -> Iterator[tuple[str, str, Path]]:
    """(name, kind, file or folder) of each that is asked for (`tracking.artifacts`) and there."""
    paths = plan.paths
    places = {
        ArtifactName.EXPORT: ("export", "model", paths.export),
        ArtifactName.SAMPLES: ("samples", "samples", paths.samples),
        ArtifactName.PLAN: ("plan", "plan", paths.plan),
    }
    for artifact in plan.config.tracking.artifacts:
        name, kind, path = places[artifact]
        if path.exists():
            yield name, kind, path
