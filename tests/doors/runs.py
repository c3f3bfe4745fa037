"""Runs that tests of the commands look at: a directory with a state, with a plan, and one that changes later."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.launch.fakes import queued
from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.launch.register import Run
from tunefleet.plan import Plan


def run_directory(name: str, state: State | None = State.RUNNING, **more: Any) -> Run:
    """A run directory in outputs/ whose own files say this; it has no plan."""
    paths = RunPaths(Path("outputs", name).resolve())
    paths.log(0).parent.mkdir(parents=True, exist_ok=True)
    if state:
        status.write(paths.status, Status(state, **more))
    return Run(paths)


def planned_run(
    folder: Path, name: str = "run", state: State | None = State.RUNNING, slurm: bool = False, **run_status: Any
) -> Run:
    """A run with a saved plan; with `slurm`, one whose job is in the queue."""
    plan = replace(_made(folder, slurm), name=name, run_dir=str(folder / "outputs" / name))
    plan.save()
    if slurm:
        queued(folder / "outputs", [plan.paths])
    if state:
        status.write(plan.paths.status, Status(state, **run_status))
    return Run(plan.paths)


@functools.cache
def _made(folder: Path, slurm: bool) -> Plan:
    """Once for all runs of a test: some have two hundred."""
    return tiny_plan(folder, launch={"name": "slurm"} if slurm else {"processes": 1})


def status_of(run: Run) -> Status:
    """What its status.json says, which must be there."""
    run_status = status.read(run.paths.status)
    assert run_status
    return run_status


def moves(run: Run, state: State, **more: Any) -> None:
    """Writes another state into its status.json."""
    status.write(run.paths.status, status_of(run).moved(state=state, **more))


def later(*acts: Callable[[], object]) -> threading.Thread:
    """Does one thing after another, each a moment later."""

    def work() -> None:
        for act in acts:
            time.sleep(0.2)
            act()

    thread = threading.Thread(target=work)
    thread.start()
    return thread
