"""Sweep view: what the page of a sweep shows, put together from its record."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tunefleet.base.paths import RunPaths
from tunefleet.config.sweep import SweepConfig
from tunefleet.report.sweep_page import PageBest, PageRun, PageTrial, SweepPage
from tunefleet.sweep import curves, leaderboard, leaderboard_columns, sweep_history
from tunefleet.sweep.importance import importance
from tunefleet.sweep.leaderboard import Row
from tunefleet.sweep.leaderboard_columns import LeaderboardColumn
from tunefleet.sweep.scaling_fit import scaling_fit
from tunefleet.sweep.study import TrialRun
from tunefleet.sweep.sweep_record import SweepRecord
from tunefleet.sweep.trial_commands import commands


def page_of(
    record: SweepRecord, rows: Sequence[Row], columns: Sequence[LeaderboardColumn], experiment: Mapping[str, str]
) -> SweepPage:
    """What the page shows."""
    differing, drawn = leaderboard.differing_keys(record.study), curves.curves(rows, record.objectives)
    shares, study = importance(record.study, differing, record.objectives), record.study
    trials = len({curve.trial for curve in drawn})
    shown = [column for column in columns if column.shown]
    return SweepPage(
        name=record.name,
        question=record.config.question,
        footnote=f"Made {time.strftime('%Y-%m-%d %H:%M')}. Again: tunefleet sweep report {record.name}",
        best=_best(record, experiment),
        facts=_facts(record, rows),
        objectives={name: direction.value for name, direction in record.objectives.items()},
        cost_unit=record.cost_unit,
        columns=[{"name": c.name, "head": c.head, "descending": c.descending} for c in shown],
        trials=[_trial(row, shown) for row in rows],
        settings=differing,
        curves=[asdict(curve) for curve in drawn],
        curves_note=f"{len(drawn)} runs of {trials} trials of {len(rows)}; lines are smoothed over the faint ones, "
        "dots are evaluations; the darker, the better.",
        importance=shares.shares,
        importance_note=shares.note,
        results=[asdict(result) for result in sweep_history.results(record.events)],
        happenings=[asdict(happening) for happening in sweep_history.happenings(record.events, record.objectives)],
        rungs=[asdict(count) for count in sweep_history.rung_counts(study, record.config.pruner)],
        left_out=[(_settings(point.values), point.reason) for point in study.left_out],
    )


def _best(record: SweepRecord, experiment: Mapping[str, str]) -> PageBest | None:
    row = leaderboard.winner(record.study, record.objectives)
    if row is None:
        return None
    front = leaderboard.front_size(record.study, record.objectives)
    over = f"{next(iter(record.objectives))}, {leaderboard_columns.replicates(row)}"
    over += f"; the first of {front} trials on the Pareto front" if front else ""
    result, settings = leaderboard_columns.result(row, 0), dict(row.trial.values)
    return PageBest(row.trial.number, result, over, settings, {**commands(row.trial.runs[0]), **experiment})


def _facts(record: SweepRecord, rows: Sequence[Row]) -> dict[str, str]:
    """The card, how it stands, how it was searched, and its limits."""
    config, states = record.config, Counter(row.trial.state.value for row in rows)
    cost = sum(row.measured.get("gpu_hours", 0.0) for row in rows)
    facts = {
        "expected": config.expected,
        "command": config.command,
        "typed in": str(record.folder),
        "planned cost": config.cost,
        "trials": ", ".join(f"{number:,} {state}" for state, number in states.most_common()),
        "used": f"{leaderboard_columns.hours(cost)} {record.cost_unit}",
        "over": record.study.closed or "not yet",
        "objective": ", ".join(f"{name} ({way.value})" for name, way in record.objectives.items()),
        "scaling": str(scaling_fit(record.study) or ""),
        **(_search(config, record) if config.space or config.paired else {"search": "a plain grid"}),
    }
    return {name: text for name, text in facts.items() if text}


def _search(config: SweepConfig, record: SweepRecord) -> dict[str, str]:
    limits = {"trials": config.trials, "gpu_hours": config.gpu_hours, "in_flight": config.in_flight}
    limits |= {key: value for key, value in record.study.limits.items() if key in limits}
    return {
        "search": f"{config.sampler.name.value}, pruned by {config.pruner.name.value}",
        "seeds": ", ".join(map(str, config.seeds)),
        "limits": ", ".join(f"{key} {value:g}" for key, value in limits.items() if value is not None),
    }


def _trial(row: Row, columns: Sequence[LeaderboardColumn]) -> PageTrial:
    return PageTrial(
        row.trial.number,
        row.trial.state.value,
        row.rank,
        row.on_front,
        [column.text(row) for column in columns],
        [column.value(row) for column in columns],
        row.score.means if row.score else None,
        row.measured.get("gpu_hours"),
        dict(row.trial.values),
        row.reason,
        [_run(run) for run in row.trial.runs],
    )


def _run(run: TrialRun) -> PageRun:
    folder, typed = RunPaths(Path(run.run_dir)), commands(run)
    shown = {name: typed[name] for name in ("reproduce", "the whole command")}
    return PageRun(folder.root.name, os.path.relpath(folder.log(0)), shown)


def _settings(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())
