"""Measuring a trial: the objectives of its runs, at their end, at a rung, and on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base.paths import RunPaths
from tunefleet.sweep import replicates
from tunefleet.sweep.objective import Objectives, measured, metric_key
from tunefleet.sweep.study import Score, TrialRun
from tunefleet.tracking import metrics

_SHOWN = 6  # metrics that a message names


def score(runs: Sequence[TrialRun], objectives: Objectives, step: int | None = None) -> Score | str:
    """Means and spreads over the runs, up to `step` where it is given; why there are none, where a value is missing."""
    results = []
    for run in runs:
        records = [record for record in _records(run) if step is None or record["step"] <= step]
        values = {objective: measured(records, objective) for objective in objectives}
        if absent := [objective for objective, value in values.items() if value is None]:
            return f"{run.run_dir}/metrics.jsonl has no {absent[0]}{_instead(records)}"
        results.append([value for value in values.values() if value is not None])
    return replicates.score(results)


def curve(runs: Sequence[TrialRun], objective: str) -> dict[int, float]:
    """{step: mean over the runs} of an objective as it was logged, where all of them have it."""
    logged = [_records(run) for run in runs]
    key = metric_key(objective, (key for records in logged for record in records for key in record))
    by_run = [{record["step"]: float(record[key]) for record in records if key in record} for records in logged]
    common = set(by_run[0]).intersection(*by_run[1:])
    return {step: sum(values[step] for values in by_run) / len(by_run) for step in sorted(common)}


def _records(run: TrialRun) -> list[dict[str, Any]]:
    return metrics.read(RunPaths(Path(run.run_dir)).metrics)


def _instead(records: Sequence[Mapping[str, Any]]) -> str:
    """The metrics of evaluations that there are."""
    logged = dict.fromkeys(key.removeprefix("evaluation/") for record in records for key in record)
    measured_names = [name for name in logged if f"evaluation/{name}" in records[-1]] if records else []
    return f"; it has {', '.join(measured_names[:_SHOWN])}" if measured_names else ""
