"""`tunefleet sweep best`: the trial that won, what to type next, and its experiment file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunefleet.base import fitting
from tunefleet.base.errors import DONE, FAILED, UserError
from tunefleet.base.sweeps import SweepPaths
from tunefleet.doors import best_experiment
from tunefleet.plan import Plan
from tunefleet.sweep import leaderboard, leaderboard_columns, sweep_record
from tunefleet.sweep.leaderboard import Row
from tunefleet.sweep.scaling_fit import scaling_fit
from tunefleet.sweep.sweep_record import SweepRecord
from tunefleet.sweep.trial_commands import commands


@dataclass(frozen=True)
class BestFile:
    """The experiment file of the winner, if there is one, what trains it, and what is to be said of it."""

    path: Path | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    def lines(self) -> list[str]:
        """What is printed of it."""
        parts = [*([os.path.relpath(self.path)] if self.path else []), *([self.note] if self.note else [])]
        return [f"best    {': '.join(parts)}"] if parts else []


def best(paths: SweepPaths) -> int:
    """Prints the best finished trial and what to type next; the exit code says whether there is one."""
    record = sweep_record.read(paths)
    row = leaderboard.winner(record.study, record.objectives)
    if row is None:
        print(f"{record.name}: no trial has finished. tunefleet sweep top {record.name} shows how they stand.")
        return FAILED
    with contextlib.chdir(record.folder):
        written = write_best(record)
        shown = {**_shown(record, row), **written.commands}
    elsewhere = {"typed in": str(record.folder)} if record.folder != Path.cwd() else {}
    print(fitting.card(shown | elsewhere, fitting.terminal_width()))
    print(*written.lines(), sep="\n")
    return DONE


def _shown(record: SweepRecord, row: Row) -> dict[str, str]:
    run, over = row.trial.runs[0], leaderboard_columns.replicates(row)
    differing, front = leaderboard.differing_keys(record.study), leaderboard.front_size(record.study, record.objectives)
    settings = " ".join(f"{key}={value}" for key, value in row.trial.values.items() if key in differing)
    return {
        "sweep": f"{record.name}: trial {row.trial.number} is the best of {len(record.study.trials):,}",
        **{name: f"{leaderboard_columns.result(row, i)}, {over}" for i, name in enumerate(record.objectives)},
        **({"front": f"{front} trials; this is its best by {next(iter(record.objectives))}"} if front else {}),
        **({"scaling": str(fit)} if (fit := scaling_fit(record.study)) else {}),
        "differs": settings or "nothing: it is the only trial",
        "runs" if len(row.trial.runs) > 1 else "run": " ".join(os.path.relpath(run.run_dir) for run in row.trial.runs),
        **commands(run),
    }


def write_best(record: SweepRecord) -> BestFile:
    """Writes the winner's experiment, where a trial has finished; its commands are for the current folder."""
    row = leaderboard.winner(record.study, record.objectives)
    if row is None:
        return BestFile()
    path = record.paths.best
    try:
        plan = Plan.read(Path(row.trial.runs[0].run_dir))
        command = best_experiment.write(path, plan, row.trial.values, _card(record, row))
        return BestFile(path, {"experiment": command}, best_experiment.difference(path, plan))
    except UserError as error:
        return BestFile(note=f"no experiment file: {error}")


def _card(record: SweepRecord, row: Row) -> dict[str, str]:
    """Of the experiment that trains the winner again."""
    over, objective = leaderboard_columns.replicates(row), next(iter(record.objectives))
    hours = leaderboard_columns.hours(row.measured.get("gpu_hours", 0.0) / len(row.trial.runs))
    return {
        "claim": f"trial {row.trial.number} is the best of {len(record.study.trials)} of the sweep {record.name}",
        "expected": f"{objective} {leaderboard_columns.result(row, 0)}, {over}",
        "cost": f"{hours} {record.cost_unit}",
    }
