"""Finding a sweep: by its folder, its name, or the only beginning of it."""

from __future__ import annotations

from pathlib import Path

from tunefleet.base.errors import RunError
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.suggest import did_you_mean

_SHOWN = 5  # names in a message


def names(outputs: Path) -> list[str]:
    """The names of all sweeps below `outputs`."""
    return sorted(folder.name for folder in (outputs / "sweeps").glob("*") if _is_sweep(folder))


def named(name: str, outputs: Path) -> SweepPaths:
    """The sweep that `name` means. Raises `RunError` where it means none, or several."""
    for folder in (outputs / "sweeps" / name, Path(name)):
        if name.strip(" ./") and _is_sweep(folder):
            return SweepPaths(folder.resolve())
    sweep_names = names(outputs)
    fits = [candidate for candidate in sweep_names if name and candidate.startswith(name)]
    if len(fits) == 1:
        return SweepPaths((outputs / "sweeps" / fits[0]).resolve())
    if fits:
        raise RunError(f"{name}: means {len(fits)} sweeps: {', '.join(fits[:_SHOWN])}. Say more of the name.")
    hint = did_you_mean(name, sweep_names) if sweep_names else " There is none: train.py -m begins one."
    raise RunError(f"{name}: no sweep of that name in {outputs / 'sweeps'}.{hint}")


def _is_sweep(folder: Path) -> bool:
    try:
        return any((folder / file).exists() for file in ("definition.json", "sweep.json"))
    except (OSError, ValueError):  # longer than a name may be, or with a zero byte
        return False
