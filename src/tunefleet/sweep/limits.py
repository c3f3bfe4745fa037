"""Limits of a sweep: what is used of them, and which is reached."""

from __future__ import annotations

from collections.abc import Mapping

from tunefleet.base.status import Status
from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep.study import Study, TrialState
from tunefleet.sweep.trial_measures import measures

_SHARE_FROM = 5  # trials that have ended, before a share of failures says anything


def reached(study: Study, sweep: SweepConfig, statuses: Mapping[str, Status | None]) -> str:
    """Why no further trial begins, besides that all are drawn; empty where none of these limits is reached."""
    if sweep.gpu_hours is not None and (used := gpu_hours(study, statuses)) >= sweep.gpu_hours:
        return f"gpu_hours: {used:.3g} of {sweep.gpu_hours:g} are used"
    failed, ended = len(study.in_state(TrialState.FAILED)), sum(trial.state.final for trial in study.trials.values())
    if sweep.max_failures is not None and failed > sweep.max_failures:
        return f"max_failures: {failed} trials have failed, and {sweep.max_failures} may"
    if ended >= _SHARE_FROM and failed > sweep.max_failure_share * ended:
        share = f"{sweep.max_failure_share:.0%}"
        return f"max_failure_share: {failed} of {ended} trials that ended have failed, more than {share}"
    return ""


def gpu_hours(study: Study, statuses: Mapping[str, Status | None]) -> float:
    """Hours of every process so far. `statuses` are of runs by directory; those not in it count as when they stood."""
    total = 0.0
    for trial in study.trials.values():
        live = [statuses.get(run.run_dir) for run in trial.runs]
        used = measures(trial.runs, live) if trial.state is TrialState.RUNNING and any(live) else trial.measured
        total += used.get("gpu_hours", 0.0) if trial.source != "adopted" else 0.0
    return total


def drawn(study: Study) -> int:
    """Trials that count towards `sweep.trials`: those that users pinned or cloned come besides."""
    return sum(trial.source in ("sampler", "adopted") for trial in study.trials.values())
