"""`train.py -m sweeps=NAME`: opens a search, or goes on with it: looks at its points, writes it down, advances it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tunefleet.base.errors import DONE, ConfigError, RunError
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.launch import LaunchConfig
from tunefleet.config.load import dump, load
from tunefleet.config.sweep import SweepConfig
from tunefleet.doors import look_ahead, sweep_advance, sweep_look
from tunefleet.doors.arguments import Arguments
from tunefleet.doors.composed import task_overrides
from tunefleet.doors.hydra_loader import Loader
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.plan import Machine
from tunefleet.sweep import inbox, lock, space_reader
from tunefleet.sweep.definition import LIMITS, Definition, differences, expect_unchanged
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.space import Space
from tunefleet.sweep.study import fold

_NOT_SEARCHED = ("name", "question", "command", "cost", "expected", "confirm", "confirm_above", "dry_run", "losers")
_NOT_OF_THE_TRIALS = ("name", "output_dir", "tracking", "experiment")


def run(typed: Arguments, loader: Loader, composed: DictConfig, sweep: SweepConfig) -> tuple[int, SweepPaths]:
    """Returns the exit code, and where the sweep is.

    Raises `ConfigError` with every complaint about the sweep and its points.
    """
    overrides = task_overrides(composed)
    space = space_reader.read(sweep, overrides, loader.choices_by_group())
    definition, planner = _defined(typed, composed, sweep, overrides, space)
    paths = SweepPaths(Path(definition.outputs) / "sweeps" / definition.name)
    if paths.definition.exists():
        definition = _as_recorded(paths, definition, overrides)
    else:
        looked = sweep_look.look(planner, sweep, space)
        print(*sweep_look.lines(looked, sweep, space, definition), sep="\n", flush=True)
        if typed.dry_run or sweep.dry_run:
            return DONE, paths
        _expect_confirmed(sweep, sweep_look.runs(looked, sweep))
        look_ahead.expect_readable([plan for _, plan in looked.planned])
        _create(paths, definition)
    return sweep_advance.stay(paths, definition, planner), paths


def _defined(
    typed: Arguments, composed: DictConfig, sweep: SweepConfig, overrides: Sequence[str], space: Space
) -> tuple[Definition, TrialPlanner]:
    """The sweep as it would be written down. Raises `ConfigError` where its trials cannot be composed."""
    choice = composed.hydra.runtime.choices.get("sweeps")
    choices = [override for override in overrides if override.lstrip("+").startswith("sweeps=")]
    definition = Definition(
        name=sweep.name or "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sweep=sweep,
        typed=tuple(overrides),
        overrides=tuple(typed.recorded([*choices, *space.common])),
        folder=os.getcwd(),
        outputs="",
    )
    begun = TrialPlanner(definition).settings(space)
    base = begun[""]
    stem = str(choice or "search").replace("/", "-")
    definition = replace(
        definition,
        name=sweep.name or f"{stem}-{_digest(begun, sweep, space)}",
        outputs=str(Path(base["output_dir"]).expanduser().resolve()),
        composed=begun,
        machine=_machine(load(LaunchConfig, base["launch"]), sweep),
    )
    return definition, TrialPlanner(definition)


def _machine(launch: LaunchConfig, sweep: SweepConfig) -> Machine:
    """What trials are planned with: a slot of this machine, or for jobs what this machine knows about itself."""
    machine = Machine.this()
    if machine.world_size:
        raise ConfigError(f"-m: a sweep starts its own processes. Start it without {machine.launcher}.")
    return machine if launch.name.value == "slurm" else sweep_advance.places(launch, sweep).machine


def _digest(composed: dict[str, Any], sweep: SweepConfig, space: Space) -> str:
    """Beginning of a hash of what is searched: other limits are the same sweep."""
    settings = {
        choice: {key: value for key, value in values.items() if key not in _NOT_OF_THE_TRIALS}
        for choice, values in composed.items()
    }
    searched = {key: value for key, value in dump(sweep).items() if key not in (*_NOT_SEARCHED, *LIMITS)}
    text = json.dumps([settings, searched, space.describe()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _expect_confirmed(sweep: SweepConfig, runs: int) -> None:
    if runs > sweep.confirm_above and not sweep.confirm:
        raise ConfigError(
            f"sweep.confirm: {runs} runs are more than sweep.confirm_above={sweep.confirm_above}. "
            "Begin them with sweep.confirm=true."
        )


def _create(paths: SweepPaths, definition: Definition) -> None:
    with lock.hold(paths.lock):
        if not paths.definition.exists():  # or another one was faster
            definition.save(paths.definition)


def _as_recorded(paths: SweepPaths, definition: Definition, overrides: Sequence[str]) -> Definition:
    """The sweep as it began; limits that are typed now are changed. Raises `RunError` where it is another search."""
    recorded = Definition.read(paths.definition)
    expect_unchanged(recorded, definition.composed)
    searched = {key: value for key, value in dump(recorded.sweep).items() if key not in (*_NOT_SEARCHED, *LIMITS)}
    changed = differences(searched, dump(definition.sweep))
    if changed:
        raise RunError(
            f"sweep.name: {recorded.name} is another search ({'; '.join(changed[:3])}). Choose another sweep.name=, or "
            f"widen it: tunefleet sweep extend {recorded.name} key=values."
        )
    study = fold(Journal.read(paths.journal).events)
    print(f"sweep  {recorded.name}: {'over: ' + study.closed if study.closed else 'goes on'}", flush=True)
    typed = {override.lstrip("+").partition("=")[0].removeprefix("sweep.") for override in overrides}
    current = recorded.effective(study)
    limits = {
        key: getattr(definition.sweep, key)
        for key in LIMITS
        if key in typed and getattr(definition.sweep, key) not in (getattr(recorded.sweep, key), getattr(current, key))
    }
    if limits:
        inbox.put(paths.inbox, "extend", limits=limits)
    return recorded
