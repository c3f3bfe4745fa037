"""`tunefleet sweep advance`, `extend`, `retry`, `stop`, `resume`, `clone`, `pin`: what users ask of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.adapter import AdapterName
from tunefleet.doors import exported, sweep_advance, sweep_status
from tunefleet.launch.register import Run
from tunefleet.sweep import inbox, space_reader
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.lock import SweepBusy
from tunefleet.sweep.study import Study, Trial, TrialState, fold

_JOB_PATIENCE = 60.0  # seconds: rounds of other jobs that end now are short


def advance(paths: SweepPaths) -> None:
    """One round, and how the sweep stands after it. Raises `SweepBusy` where another process advances it."""
    paths, definition, planner = sweep_advance.opened(paths.root)
    wait = _JOB_PATIENCE if definition.on_slurm else 0.0
    progress = sweep_advance.once(paths, definition, planner, wait)
    study = progress.study
    print(f"{definition.name}: {sweep_status.counts(study, sweep_status.never_started(definition, study))}")
    if study.closed:
        print(f"over: {study.closed}")
    elif not definition.on_slurm:
        print(f"Its trials run on this machine: tunefleet sweep watch {definition.name} starts them.")
    elif progress.waiting:
        print(f"{progress.waiting} runs wait for room: a later round submits them.")


def extend(paths: SweepPaths, limits: Mapping[str, Any], settings: Sequence[str]) -> None:
    """Other limits, as totals; other values of keys that are searched. Raises `ConfigError` for what is no such key."""
    definition, study = _read(paths)
    if not limits and not settings:
        raise ConfigError("extend: nothing to change. Name --trials, --gpu-hours, --in-flight, or key=values.")
    space = space_reader.read(definition.sweep, definition.overrides_of_space(study))
    values = _settings(settings)
    unknown = [key for key in values if key not in space.keys]
    if unknown:
        searched = ", ".join(space.keys)
        raise ConfigError(*(f"{key}: not searched by {definition.name}, which searches {searched}." for key in unknown))
    space_reader.read(definition.sweep, [*definition.overrides_of_space(study), *settings])
    bad = [f"--{key.replace('_', '-')}: {value} is not above 0." for key, value in limits.items() if value <= 0]
    if bad:
        raise ConfigError(*bad)
    _request(paths, "extend", limits={**limits, **({"space": values} if values else {})})


def retry(paths: SweepPaths, trials: Sequence[int]) -> None:
    """Starts trials again that failed or were stopped; all that failed where none is named."""
    _, study = _read(paths)
    selected = [_trial(study, number) for number in trials] or study.in_state(TrialState.FAILED)
    allowed = (TrialState.FAILED, TrialState.STOPPED)
    for trial in selected:
        if trial.state not in allowed:
            raise RunError(f"trial {trial.number} is {trial.state.value}: only a failed or stopped one is retried.")
    if not selected:
        print("no trial has failed")
        return
    for trial in selected[:-1]:
        inbox.put(paths.inbox, "retry", trial=trial.number)
    _request(paths, "retry", trial=selected[-1].number)


def stop(paths: SweepPaths, trial: int | None) -> None:
    """Ends a trial, or the whole sweep; what runs saves first."""
    _, study = _read(paths)
    if trial is not None and (named := _trial(study, trial)).state.final:
        raise RunError(f"trial {trial} is {named.state.value} already.")
    _request(paths, "stop", trial=trial)


def resume(paths: SweepPaths, trial: int) -> None:
    """Lets a paused, pruned, failed or stopped trial train to its end."""
    _, study = _read(paths)
    state = _trial(study, trial).state
    if state in (TrialState.RUNNING, TrialState.DRAWN, TrialState.FINISHED):
        raise RunError(f"trial {trial} is {state.value}: there is nothing to resume.")
    _request(paths, "resume", trial=trial)


def clone(paths: SweepPaths, trial: int, settings: Sequence[str], warm: bool) -> None:
    """Tries a trial's settings with changes; `warm` from its newest checkpoint, of which an export is made.

    Raises `ConfigError` where the plan refuses the settings.
    """
    definition, study = _read(paths)
    source = _trial(study, trial)
    if not settings and not warm:
        raise ConfigError("clone: the same settings would be the same run. Name what is to be changed: key=value.")
    values = {**source.values, **_settings(settings)}
    if warm:
        _export(source, paths.root.parent.parent)
    _expect_plannable(paths, definition, values, source if warm else None)
    _request(paths, "pin", values=values, source=f"clone of {trial}", warm_from=trial if warm else None)


def pin(paths: SweepPaths, settings: Sequence[str]) -> None:
    """Tries settings next. Raises `ConfigError` where the plan refuses them."""
    definition, _ = _read(paths)
    if not settings:
        raise ConfigError("pin: nothing to try. Name the settings: key=value.")
    values = _settings(settings)
    _expect_plannable(paths, definition, values, None)
    _request(paths, "pin", values=values, source="pin", warm_from=None)


def _export(trial: Trial, outputs: Path) -> None:
    """Writes the whole model of each run that has none yet, as the plan of a warm start wants it."""
    for run in (Run(RunPaths(outputs / Path(run.run_dir).name)) for run in trial.runs):
        if run.paths.checkpoints.exists() and not (run.paths.export / "config.json").exists():
            has_adapter = run.setting("adapter") not in (None, AdapterName.NONE.value)
            exported.export(run, exported.ExportRequest(merge=True if has_adapter else None))


def _read(paths: SweepPaths) -> tuple[Definition, Study]:
    return Definition.read(paths.definition), fold(Journal.read(paths.journal).events)


def _trial(study: Study, number: int) -> Trial:
    if number in study.trials:
        return study.trials[number]
    numbers = f"there are 1 to {max(study.trials)}" if study.trials else "there is none yet"
    raise RunError(f"trial {number}: no such trial; {numbers}.")


def _settings(texts: Sequence[str]) -> dict[str, str]:
    bad = [text for text in texts if "=" not in text]
    if bad:
        raise ConfigError(*(f"{text}: a setting is key=value, such as optimizer.lr=1e-5." for text in bad))
    return dict(text.split("=", 1) for text in texts)


def _expect_plannable(paths: SweepPaths, definition: Definition, values: Mapping[str, str], warm: Trial | None) -> None:
    """Raises `ConfigError` with every complaint about the first run of a point."""
    _, _, planner = sweep_advance.opened(paths.root)
    seeds = definition.sweep.seeds
    planner.plan(values, seeds[0] if seeds else None, warm.runs[0] if warm else None)


def _request(paths: SweepPaths, kind: str, **data: Any) -> None:
    """Writes the act down, then advances; where another process does that, it sees the act."""
    inbox.put(paths.inbox, kind, **data)
    try:
        advance(paths)
    except SweepBusy as error:
        print(f"written down. {str(error).removesuffix(': one at a time.')}, which does it next.")
