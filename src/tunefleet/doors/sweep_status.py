"""`tunefleet sweep list` and `status`: how sweeps stand, who advances them, what the next round would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tunefleet.base import sweeps, text
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.sweeps import Sweep, SweepPaths
from tunefleet.doors import sweep_advance
from tunefleet.launch.run_state import StatusReader
from tunefleet.sweep import find_sweep, inbox, limits, lock
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.driver import Progress
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.rehearsal import Onlooker, RehearsedDriver
from tunefleet.sweep.study import Study, Trial, TrialState, fold

_SHOWN = 5  # reasons, or lines of the next round
_HEAD = ("sweep", "kind", "trials", "state")
_LABELS = {
    TrialState.RUNNING: "in flight",
    TrialState.DRAWN: "waiting to start",
    TrialState.PAUSED: "paused at a rung",
    TrialState.FINISHED: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.STOPPED: "stopped",
    TrialState.FAILED: "failed",
}


def listed(outputs: Path) -> None:
    """Prints a line for each sweep, by name."""
    names = find_sweep.names(outputs)
    rows = [_row(outputs, name) for name in names]
    print(text.columns([_HEAD, *rows]) if rows else f"no sweep in {outputs / 'sweeps'}; train.py -m begins one")


def status(paths: SweepPaths) -> None:
    """Prints how a sweep stands. Raises `RunError` where it cannot be read."""
    if not paths.definition.exists():
        return print(f"{paths.root.name}: a plain grid. How its runs stand: tunefleet status {paths.root.name}")
    definition, journal = Definition.read(paths.definition), Journal.read(paths.journal)
    study = fold(journal.events)
    print(text.listed(_card(paths, definition, journal, study)))
    for trial in study.in_state(TrialState.FAILED)[:_SHOWN]:
        print(f"  trial {trial.number} [{trial.name}] failed: {trial.reason}")
    for line in _next_round(paths):
        print(line)
    return None


def counts(study: Study, never_started: int | None) -> str:
    """How many trials are in each state, in words."""
    states = Counter(trial.state for trial in study.trials.values())
    parts = [f"{states[state]} {label}" for state, label in _LABELS.items() if states[state]]
    return ", ".join([*parts, *([f"{never_started} never started"] if never_started else [])]) or "no trial yet"


def never_started(definition: Definition, study: Study) -> int | None:
    """Trials that are still to be drawn; None where that is not known beforehand."""
    total = definition.effective(study).trials
    return max(0, total - limits.drawn(study)) if total is not None and not study.closed else None


def _row(outputs: Path, name: str) -> tuple[str, ...]:
    paths = SweepPaths(outputs / "sweeps" / name)
    if not paths.definition.exists():
        grid = sweeps.read(outputs, name)
        return (name, "grid", str(len(grid.points) if grid else 0), _of_runs(grid) if grid else "")
    try:
        study = fold(Journal.read(paths.journal).events)
        definition = Definition.read(paths.definition)
    except RunError as error:
        return (name, "search", "", str(error))
    state = f"over: {study.closed}" if study.closed else counts(study, never_started(definition, study))
    return (name, "search", str(len(study.trials)), state)


def _of_runs(grid: Sweep) -> str:
    """How many points of a plain grid are in each state, in words."""
    reader = StatusReader(settles=False)
    statuses = [reader.status(RunPaths(Path(point.run_dir))) for point in grid.points]
    states = Counter(run_status.state.value if run_status else "never started" for run_status in statuses)
    is_over = all(run_status and run_status.state.final for run_status in statuses)
    return ("over: " if is_over else "") + ", ".join(f"{number} {state}" for state, number in states.items())


def _card(paths: SweepPaths, definition: Definition, journal: Journal, study: Study) -> dict[str, str]:
    owner = lock.owner(paths.lock)
    sweep = definition.effective(study)
    used = f"{limits.gpu_hours(study, {}):.3g}" + (f" of {sweep.gpu_hours:g}" if sweep.gpu_hours else "")
    waiting = len(inbox.acts(paths.inbox))
    optional = {
        "question": sweep.question,
        "over": study.closed,
        "left out": _left_out(study),
        "acts": f"{waiting} wait for the next round" if waiting else "",
        "journal": "; ".join(journal.complaints()),
    }
    return {
        "sweep": definition.name,
        "trials": counts(study, never_started(definition, study)),
        "in flight": ", ".join(_name(trial) for trial in study.in_state(TrialState.RUNNING)[:_SHOWN]) or "none",
        "hours": f"{used} of processes",
        "advanced by": owner.describe() if owner else "nobody now",
        **{key: value for key, value in optional.items() if value},
    }


def _name(trial: Trial) -> str:
    return f"{trial.number} [{trial.name}]"


def _left_out(study: Study) -> str:
    reasons = Counter(point.reason for point in study.left_out)
    return "; ".join(f"{number} x {reason}" for reason, number in reasons.most_common(_SHOWN))


def _next_round(paths: SweepPaths) -> Iterator[str]:
    """What the next advance would write down."""
    lines: list[str] = []
    try:
        progress = _rehearsed(paths, lines)
    except (RunError, ConfigError) as error:
        yield f"next round: refused: {error}"
        return
    yield from ["next round:", *(f"  {line}" for line in lines[:_SHOWN])] if lines else ["next round: nothing to do"]
    if len(lines) > _SHOWN:
        yield f"  ... and {len(lines) - _SHOWN} more"
    if progress.waiting:
        yield f"{progress.waiting} runs wait for room"


def _rehearsed(paths: SweepPaths, lines: list[str]) -> Progress:
    paths, definition, planner = sweep_advance.opened(paths.root)
    trials = sweep_advance.trials(paths, definition, planner)
    world = Onlooker(trials, sweep_advance.slots(definition))
    progress = RehearsedDriver(paths, definition, world, lines.append).advance()
    if world.would_begin:
        lines.append(f"{world.would_begin} runs begin")
    return progress
