"""Sweep records: which runs belong together, so that later commands find the points of a grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.paths import lies_in


@dataclass(frozen=True)
class SweepPoint:
    """One run of a sweep: the overrides that were typed for it, and its run directory."""

    overrides: tuple[str, ...]
    run_dir: str


@dataclass(frozen=True)
class Sweep:
    """Runs that were started by one command; `created` is the time of its first start, UTC in ISO 8601."""

    name: str
    created: str
    points: tuple[SweepPoint, ...]


def sweep(points: Sequence[SweepPoint]) -> Sweep:
    """A sweep of `points`. Its name depends on the runs alone: the same grid, typed again, is the same sweep."""
    runs = sorted(Path(point.run_dir).name for point in points)
    name = f"sweep-{hashlib.sha256(json.dumps(runs).encode()).hexdigest()[:8]}"
    return Sweep(name, datetime.now(UTC).isoformat(timespec="seconds"), tuple(points))


def write(output_dir: Path, sweep: Sweep) -> None:
    """Writes the record below `output_dir`, atomically; one with the same runs stays, and a start keeps its time."""
    recorded = read(output_dir, sweep.name)
    if recorded is None or recorded.points != sweep.points:
        created = recorded.created if recorded else sweep.created
        files.write_json(_path(output_dir, sweep.name), asdict(replace(sweep, created=created)))


def forget(output_dir: Path, run_dir: Path) -> None:
    """Takes a run that was removed out of every sweep; a sweep without runs goes, too."""
    for sweep in listed(output_dir):
        points = tuple(point for point in sweep.points if Path(point.run_dir) != run_dir)
        if not points:
            _path(output_dir, sweep.name).unlink()
        elif points != sweep.points:
            files.write_json(_path(output_dir, sweep.name), asdict(replace(sweep, points=points)))


def read(output_dir: Path, name: str) -> Sweep | None:
    """The sweep `name`, or None where there is none that can be read. What is no run of `output_dir` is no point.

    Where `output_dir` was copied, or is seen from elsewhere, the points are its own runs of the same names.
    """
    try:
        record = files.read_json(_path(output_dir, name))
        points = tuple(SweepPoint(_overrides(point), point["run_dir"]) for point in record["points"])
        outputs = output_dir.resolve()
        points = tuple(point for point in _beside(points, outputs) if lies_in(Path(point.run_dir), outputs))
        return Sweep(name, record["created"], points) if points else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _beside(points: tuple[SweepPoint, ...], outputs: Path) -> tuple[SweepPoint, ...]:
    """The points below `outputs`, where all of them were below one other folder and some are runs of `outputs`."""
    folders, names = {Path(point.run_dir).parent for point in points}, [Path(point.run_dir).name for point in points]
    is_moved = len(folders) == 1 and not any(lies_in(Path(point.run_dir), outputs) for point in points)
    if not is_moved or not any((outputs / name / "plan.json").exists() for name in names if name not in ("", "..")):
        return points
    return tuple(replace(point, run_dir=str(outputs / name)) for point, name in zip(points, names, strict=True))


def _overrides(point: dict[str, Any]) -> tuple[str, ...]:
    return tuple(point["overrides"] if "overrides" in point else point["words"])  # as earlier versions wrote it


def listed(output_dir: Path) -> list[Sweep]:
    """All sweeps below `output_dir`, the newest first."""
    names = [path.parent.name for path in _path(output_dir, "").parent.glob("*/sweep.json")]
    sweeps = [sweep for name in names if (sweep := read(output_dir, name))]
    return sorted(sweeps, key=lambda sweep: sweep.created, reverse=True)


def _path(output_dir: Path, name: str) -> Path:
    return output_dir / "sweeps" / name / "sweep.json"


@dataclass(frozen=True)
class SweepPaths:
    """The files of one sweep that searches, all below its directory `root`, which is `OUTPUTS/sweeps/NAME`."""

    root: Path

    @property
    def definition(self) -> Path:
        """What is searched, as composed when the sweep began, and the words that compose its trials; never changed."""
        return self.root / "definition.json"

    @property
    def journal(self) -> Path:
        """One event a line: the truth."""
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by whoever advances the sweep; says who."""
        return self.root / "lock"

    @property
    def inbox(self) -> Path:
        """A file for each act of a user's that is not in the journal yet."""
        return self.root / "inbox"

    @property
    def log(self) -> Path:
        """What those printed who advanced the sweep at the end of a job."""
        return self.root / "advance.log"

    @property
    def page(self) -> Path:
        """The report: one HTML file."""
        return self.root / "report.html"

    @property
    def table(self) -> Path:
        """The leaderboard with every column."""
        return self.root / "report.csv"

    @property
    def best(self) -> Path:
        """The best trial as an experiment file: `--config-dir FOLDER experiment=best`."""
        return self.root / "experiment" / "best.yaml"
