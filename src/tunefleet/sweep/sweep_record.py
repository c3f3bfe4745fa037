"""Sweep record: definition, events and study of a sweep, whether it searches or is a plain grid."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tunefleet.base import files, sweeps
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.paths import RunPaths, lies_in
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config import load
from tunefleet.config.sweep import SweepConfig
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader
from tunefleet.sweep import grid_study, leaderboard
from tunefleet.sweep.journal import Event, Journal
from tunefleet.sweep.leaderboard import Live, Row
from tunefleet.sweep.live_trials import look_up
from tunefleet.sweep.objective import Objectives
from tunefleet.sweep.study import Study, TrialRun, fold

_LOOKED_AT = 10  # trials whose plan is looked for


@dataclass(frozen=True)
class SweepRecord:
    """What is known of a sweep. `live` holds the trials that have not ended; the events of a plain grid are ends."""

    paths: SweepPaths
    config: SweepConfig
    study: Study
    events: tuple[Event, ...]
    live: dict[int, Live]
    cost_unit: str
    """GPU-hours, or process-hours where its processes have no GPUs."""
    folder: Path
    """Where its commands mean what they meant when it began."""

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.paths.root.name

    @property
    def objectives(self) -> Objectives:
        """What is compared, and which of two values is better."""
        return self.config.objective


def read(paths: SweepPaths, reader: StatusReader | None = None) -> SweepRecord:
    """The sweep in a folder, its runs as `reader` sees them.

    Raises `RunError` where there is none, or its definition cannot be read.
    """
    reader = reader or StatusReader()
    with _uncollected():
        return _of_journal(paths, reader) if paths.definition.exists() else _of_grid(paths, reader)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hundreds of thousands of small objects that all stay: the garbage collector would look at them for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def rows(record: SweepRecord) -> list[Row]:
    """Its trials in the order of their results."""
    return leaderboard.rows(record.study, record.objectives, record.live)


def _of_journal(paths: SweepPaths, reader: StatusReader) -> SweepRecord:
    config, folder = _definition(paths)
    events = tuple(Journal.read(paths.journal).events)
    study, outputs = fold(events), _outputs(paths)
    for trial in study.trials.values():
        study.trials[trial.number] = replace(trial, runs=tuple(_beside(run, outputs) for run in trial.runs))
    live = look_up(study, config.objective, reader, outputs)
    return SweepRecord(paths, config, study, events, live, _cost_unit(study), folder)


def _of_grid(paths: SweepPaths, reader: StatusReader) -> SweepRecord:
    sweep = sweeps.read(paths.root.parent.parent, paths.root.name)
    if sweep is None:
        raise RunError(f"{paths.root}: no sweep there: neither a definition.json nor a sweep.json that can be read.")
    objectives = grid_study.objectives_of(sweep)
    study = grid_study.study_of(sweep, objectives, reader)
    live = look_up(study, objectives, reader, _outputs(paths))
    config, events = SweepConfig(objective=dict(objectives)), grid_study.events_of(study)
    return SweepRecord(paths, config, study, events, live, _cost_unit(study), Path.cwd())


def _outputs(paths: SweepPaths) -> Path:
    return paths.root.resolve().parent.parent


def _beside(run: TrialRun, outputs: Path) -> TrialRun:
    """The run of these outputs that the journal names: where they are seen from elsewhere, its path differs."""
    path = Path(run.run_dir)
    if lies_in(path, outputs):
        return run
    return replace(run, run_dir=str(outputs / (path.name if path.name not in ("", "..") else "unnamed")))


def _definition(paths: SweepPaths) -> tuple[SweepConfig, Path]:
    """What is searched, and where it was typed, if that folder is still there."""
    try:
        record = files.read_json(paths.definition)
        folder = Path(record.get("folder") or ".").absolute()
        return load(SweepConfig, record["sweep"]), folder if folder.is_dir() else Path.cwd()
    except ConfigError as error:
        raise RunError(f"{paths.definition}: of another version of tunefleet: {error.complaints[0]}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{paths.definition}: cannot be read: {error}. It says what the sweep searches for.") from None


def _cost_unit(study: Study) -> str:
    """As the first plan says that can be read: all runs of a sweep are on machines of one kind."""
    for trial in islice(study.trials.values(), _LOOKED_AT):
        layout = Run(RunPaths(Path(trial.runs[0].run_dir))).plan.get("layout")
        if isinstance(layout, dict):
            return "process-hours" if layout.get("device") == "cpu" else "GPU-hours"
    return "GPU-hours"
