"""Trial measures: what the runs of a trial took together, by their own status files."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tunefleet.base.status import Status
from tunefleet.sweep.study import TrialRun


def measures(runs: Sequence[TrialRun], statuses: Sequence[Status | None]) -> dict[str, float]:
    """`Trial.measured` of runs that stand like this; empty where none of them has begun.

    steps: of the run that is least far; tokens and gpu_hours: of all runs together, an hour of every process;
    tokens_per_second: the mean over the runs of their last logged step; restarts: of all.
    """
    begun = [(run, status) for run, status in zip(runs, statuses, strict=True) if status]
    if not begun:
        return {}
    speeds = [status.tokens_per_second for _, status in begun if status.tokens_per_second]
    return {
        "steps": min(status.step if status else 0 for status in statuses),
        "tokens": sum(status.tokens for _, status in begun),
        "gpu_hours": sum(status.seconds * run.world_size for run, status in begun) / 3600,
        "restarts": sum(status.restarts for _, status in begun),
        **({"tokens_per_second": statistics.fmean(speeds)} if speeds else {}),
    }
