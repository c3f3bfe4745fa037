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
        return _grid(overrides)
    sweep_open.run(typed, loader, config, search)
    outputs, name = sweep_open.place(typed, loader, config, search)
    recorded = sweeps.read(outputs, name)
    return [Path(point.run_dir) for point in recorded.points] if recorded else []


def _grid(overrides: Sequence[str]) -> list[Path]:
    points = compose.grid(overrides)
    configs, typed = [config for _, config in points], [texts for texts, _ in points]
    grid.run(configs, typed)
    return grid.run_dirs(configs, typed)
