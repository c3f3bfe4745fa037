"""Advancing a sweep: once, or until it is over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from tunefleet.base.errors import DONE, FAILED, INTERRUPTED
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.launch import LaunchConfig
from tunefleet.config.load import load
from tunefleet.config.sweep import SweepConfig
from tunefleet.doors import sweep_report
from tunefleet.doors.sweep_local import LocalTrials
from tunefleet.doors.sweep_slurm import SlurmTrials
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.launch.signals import caught
from tunefleet.plan import Machine
from tunefleet.plan.processes.slots import Share, share
from tunefleet.sweep import lock, space_reader
from tunefleet.sweep.definition import Definition, expect_unchanged
from tunefleet.sweep.driver import Driver, Progress
from tunefleet.sweep.study import Study, TrialState

_POLL = 0.5  # seconds between two rounds of a sweep whose trials run here
_SLURM_POLL = 10.0
_MANY = 10**6  # runs, where a sweep has no limit
Shown = Callable[[Progress], None]


def opened(folder: Path) -> tuple[SweepPaths, Definition, TrialPlanner]:
    """A sweep that exists. Raises `RunError` where there is none, or the configuration has changed since it began."""
    paths = SweepPaths(folder)
    definition = Definition.read(paths.definition)
    planner = TrialPlanner(definition)
    expect_unchanged(definition, planner.settings(space_reader.read(definition.sweep, definition.typed)))
    return paths, definition, planner


def once(paths: SweepPaths, definition: Definition, planner: TrialPlanner, wait: float = 0.0) -> Progress:
    """One round. Raises `SweepBusy` where another process advances the sweep for longer than `wait` seconds."""
    with lock.hold(paths.lock, wait):
        progress = Driver(paths, definition, trials(paths, definition, planner), _print).advance()
        _answer(paths, progress)
        return progress


def trials(paths: SweepPaths, definition: Definition, planner: TrialPlanner) -> SlurmTrials | LocalTrials:
    """Where trials run. On this machine none begins: they would end with the command."""
    return (SlurmTrials if definition.on_slurm else LocalTrials)(paths, definition, planner)


def slots(definition: Definition) -> int | None:
    """How many runs this machine has room for; None for jobs."""
    return None if definition.on_slurm else _places(definition).slots


def stay(paths: SweepPaths, definition: Definition, planner: TrialPlanner) -> int:
    """Advances until the sweep is over, where its trials run here; once where they are jobs. Returns the exit code."""
    if not definition.on_slurm:
        return _stay_here(paths, definition, planner)
    progress, name = once(paths, definition, planner), definition.name
    if is_over(progress):
        return _code(progress.study)
    print(
        f"{progress.in_flight} runs are in flight. Each job advances the sweep as it ends: no process has to stay.",
        "next:",
        *(f"  tunefleet sweep {command} {name}" for command in ("status", "watch", "stop")),
        sep="\n",
        flush=True,
    )
    return DONE


def watch(paths: SweepPaths, definition: Definition, planner: TrialPlanner, show: Shown) -> int:
    """Advances and shows until the sweep is over; jobs go on when the user leaves."""
    if not definition.on_slurm:
        return _stay_here(paths, definition, planner, show)
    while True:
        progress = once(paths, definition, planner, wait=60.0)
        show(progress)
        if is_over(progress):
            return _code(progress.study)
        time.sleep(_SLURM_POLL)


def is_over(progress: Progress) -> bool:
    """Whether nothing runs and nothing more will begin."""
    return bool(progress.study.closed) and not progress.study.in_state(TrialState.RUNNING)


def _stay_here(paths: SweepPaths, definition: Definition, planner: TrialPlanner, show: Shown | None = None) -> int:
    """Ctrl-C lets all trials save; the same command goes on."""
    world = LocalTrials(paths, definition, planner, _places(definition))
    signals: list[int] = []

    def note(number: int) -> None:
        signals.append(number)
        world.signal(signal.SIGINT)  # whichever it was: the user's, and no lost machine

    with lock.hold(paths.lock), caught(note):
        driver = Driver(paths, definition, world, _print)
        while not signals:
            progress = driver.advance()
            if show:
                show(progress)
            if is_over(progress):
                _answer(paths, progress)
                return _code(progress.study)
            time.sleep(_POLL)
        world.wait()
    name = signal.Signals(signals[0]).name
    print(f"\ntunefleet: {name}: all trials have saved. The same command goes on.", flush=True)
    return INTERRUPTED


def _answer(paths: SweepPaths, progress: Progress) -> None:
    """Writes the report of a sweep that is over, once."""
    if is_over(progress) and not (paths.page.exists() and paths.page.stat().st_mtime >= paths.journal.stat().st_mtime):
        sweep_report.write_report(paths)


def places(launch: LaunchConfig, sweep: SweepConfig) -> Share:
    """The room of this machine for the trials of a sweep."""
    return share(launch, Machine.this(), sweep.in_flight or _MANY)


def _places(definition: Definition) -> Share:
    return places(load(LaunchConfig, definition.composed[""]["launch"]), definition.sweep)


def _print(line: str) -> None:
    print(line, flush=True)


def _code(study: Study) -> int:
    """A search whose trials fail in part is a result; one without any is not."""
    return DONE if study.in_state(TrialState.FINISHED) else FAILED
