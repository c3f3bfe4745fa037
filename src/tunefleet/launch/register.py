"""Register of runs: lists and finds them by name, directory, sweep and settings, without loading their plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tunefleet.base import files, ownership, sweeps
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths

_SHOWN = 10  # names in a message


@dataclass(frozen=True)
class Run:
    """A run directory."""

    paths: RunPaths

    @property
    def name(self) -> str:
        """The run's name, which is its directory's."""
        return self.paths.root.name

    @cached_property
    def plan(self) -> Mapping[str, Any]:
        """The saved plan as plain values: a thousand of them are read at once."""
        if ownership.complaint_of_file(self.paths.plan):
            return {}
        try:
            plan = files.read_json(self.paths.plan)
        except (OSError, ValueError):
            return {}
        return plan if isinstance(plan, Mapping) else {}

    @property
    def ranks(self) -> int:
        """The number of its processes; 0 where its plan does not say."""
        layout = self.plan.get("layout")
        ranks = layout.get("world_size") if isinstance(layout, Mapping) else 0
        return ranks if isinstance(ranks, int) else 0

    def setting(self, key: str) -> Any:
        """The setting `optimizer.lr`; a group alone is its choice, as in `model`. None where there is none."""
        value: Any = self.plan.get("config", {})
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value.get("name") if isinstance(value, Mapping) else value


def runs(outputs: Path) -> list[Run]:
    """Every run directly below `outputs`, by name."""
    return [Run(RunPaths(path.parent)) for path in sorted(outputs.glob("*/plan.json"))]


def matching(candidates: Sequence[Run], filters: Mapping[str, str]) -> list[Run]:
    """Runs whose settings have these values, compared as text and as numbers."""
    return [run for run in candidates if all(_equals(run.setting(key), value) for key, value in filters.items())]


def _equals(value: Any, text: str) -> bool:
    if value is None or isinstance(value, (bool, list)):  # as they are typed: null, true, [0.9,0.95]
        return json.dumps(value).replace(" ", "") == text.lower().replace(" ", "")
    try:
        return float(value) == float(text)
    except (TypeError, ValueError):
        return str(value).lower() == text.lower()


def named(name: str, outputs: Path) -> list[Run]:
    """The run or the runs of a sweep that `name` means: a directory, a name, or the only beginning of one.

    Raises `RunError` where it means nothing, or several runs.
    """
    if not name.strip():
        raise RunError(f"{name!r}: not a name. tunefleet ls lists the runs.")
    for folder in (Path(name), outputs / name):
        if _is_run(folder):
            return [Run(RunPaths(folder.resolve()))]
    sweep = sweeps.read(outputs, name)
    if sweep:
        return [Run(RunPaths(Path(point.run_dir))) for point in sweep.points]
    existing = runs(outputs)
    fits = [run for run in existing if run.name.startswith(name)]
    if len(fits) == 1:
        return fits
    if fits:
        raise RunError(
            f"{name}: means {len(fits)} runs: {', '.join(run.name for run in fits[:5])}. Say more of the name."
        )
    raise RunError(f"{name}: no run and no sweep of that name in {outputs}. tunefleet ls lists them.")


def expect_own(candidates: list[Run]) -> list[Run]:
    """The same runs. Raises `RunError` where somebody else may have written what is in the directory of one."""
    complaints = filter(None, (ownership.complaint_to_use(run.paths.root) for run in candidates))
    if listed := [f"{complaint}." for complaint in complaints]:
        raise RunError(*listed)
    return candidates


def _is_run(folder: Path) -> bool:
    """Whether there is a plan; not for what cannot be a path at all."""
    try:
        return (folder / "plan.json").exists()
    except (OSError, ValueError):  # longer than a name may be, or with a zero byte
        return False


def only(name: str, outputs: Path) -> Run:
    """The one run that `name` means. Raises `RunError` where it means nothing, or a sweep of several runs."""
    fits = named(name, outputs)
    if len(fits) > 1:
        shown = ", ".join(run.name for run in fits[:_SHOWN]) + (", ..." if len(fits) > _SHOWN else "")
        raise RunError(f"{name}: is a sweep of {len(fits)} runs, and one is meant. Name one of them: {shown}.")
    return fits[0]
