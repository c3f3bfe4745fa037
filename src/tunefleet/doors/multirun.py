"""Multirun from Python: the runs of a grid or of a search, which a command line only prints about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunefleet.base import sweeps
from tunefleet.doors import arguments, compose, grid, sweep_open
from tunefleet.doors.train import composed_for


def multirun(overrides: Sequence[str]) -> list[Path]:
    """Does what `train.py -m OVERRIDES` does; returns the run directories. Raises `ConfigError` before one starts."""
    typed = arguments.parse(["-m", *overrides])
    loader, config, search, _ = composed_for(typed)
    if search is None:
        points = compose.points(config, loader)
        return grid.run_points([point for _, point in points], [typed.recorded(texts) for texts, _ in points])[1]
    _, paths = sweep_open.run(typed, loader, config, search)
    recorded = sweeps.read(paths.root.parents[1], paths.root.name)
    return [Path(point.run_dir) for point in recorded.points] if recorded else []
