"""Fingerprints of a run: what says that two runs are the same, for trackers that hold many."""

from __future__ import annotations

from typing import Any

from tunefleet.base import files
from tunefleet.plan.plan import Plan

_FROM_PROVENANCE = ("commit", "dirty", "packages", "snapshot")


def fingerprints(plan: Plan) -> dict[str, Any]:
    """Identity, trajectory and version of a plan, SHA-256 of every file that it reads; commit, where that is known."""
    return {
        "identity": plan.identity,
        "trajectory": plan.trajectory,
        "tunefleet": plan.version,
        "files": plan.contents,
        **_provenance(plan),
    }


def _provenance(plan: Plan) -> dict[str, Any]:
    try:
        record = files.read_json(plan.paths.provenance)
    except (OSError, ValueError):
        return {}
    return {key: record[key] for key in _FROM_PROVENANCE if key in record} if isinstance(record, dict) else {}
