"""Opened sweeps for tests of the acts on them: of this machine, with trials that were drawn; nobody advances them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.sweep import SweepConfig
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.plan import Machine
from tunefleet.sweep import space_reader
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.study import TrialRun

SETTINGS = ("model=opt-tiny", "train.max_steps=9", "tracking=files")
SWEEP = SweepConfig(space={"optimizer.lr": "1e-3,2e-3,3e-3"})


def opened(folder: Path, rates: Sequence[str]) -> SweepPaths:
    """The sweep `mine` in `folder`/outputs, of which a trial was drawn for each of these learning rates."""
    paths = SweepPaths(folder / "outputs" / "sweeps" / "mine")
    definition = Definition("mine", "", SWEEP, SETTINGS, SETTINGS, str(folder), str(folder / "outputs"), Machine())
    planner = TrialPlanner(definition)
    replace(definition, composed=planner.settings(space_reader.read(SWEEP, SETTINGS))).save(paths.definition)
    journal = Journal.read(paths.journal)
    for number, lr in enumerate(rates, 1):
        plan = planner.plan({"optimizer.lr": lr}, None, None)
        runs = [asdict(TrialRun(plan.run_dir, plan.identity, plan.overrides, total_steps=9))]
        journal.append("drawn", trial=number, values={"optimizer.lr": lr}, runs=runs, source="sampler")
    return paths
