"""Sweep requests: what a sweep asks of one of its runs, through files in the run's directory.

Only the sweep's driver writes them. The run reads its rung at its start, and looks for the prune file between steps.
"""

from __future__ import annotations

from pathlib import Path

from tunefleet.base import files, status
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths, lies_in
from tunefleet.base.status import State


def set_rung(run: RunPaths, step: int | None) -> None:
    """The step after which the run's next start pauses; None lets it train to its end."""
    if step is None:
        run.rung.unlink(missing_ok=True)
    else:
        files.write_json(run.rung, {"step": step})


def rung(run: RunPaths) -> int | None:
    """The step after which the run pauses; None where it trains to its end. Raises `RunError` for a damaged file.

    To train on without it could cost many times what the sweep allows.
    """
    try:
        return int(files.read_json(run.rung)["step"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f'{run.rung}: no {{"step": N}} can be read in it. Remove the file, and the run trains to its end.'
        ) from None


def prune(run: RunPaths, reason: str) -> None:
    """Asks the run to save at its next step and to end as pruned."""
    files.write_text(run.prune, reason)


def prune_reason(run: RunPaths) -> str:
    """Why the run is to be pruned; empty where no reason can be read."""
    try:
        return " ".join(files.read_text(run.prune, "replace").split())
    except OSError:
        return ""


def withdraw(run: RunPaths) -> None:
    """Lets a run that is paused or pruned train to its end: removes its rung and the request to prune it.

    A run that failed or was interrupted keeps them, so that starting it again does not outrun its sweep.
    """
    run_status = status.read(run.status)
    if run_status and run_status.state in (State.PAUSED, State.PRUNED):
        run.rung.unlink(missing_ok=True)
        run.prune.unlink(missing_ok=True)


def join_sweep(run: RunPaths, folder: Path) -> None:
    """Writes down the folder of the sweep that the run belongs to; its jobs advance that sweep as they end."""
    files.write_text(run.sweep, str(folder.absolute()))


def sweep_folder(run: RunPaths) -> Path | None:
    """The folder of the run's sweep, beside the run; None where it is in none, or that folder is gone."""
    try:
        folder = Path(files.read_text(run.sweep).strip())
    except (OSError, ValueError):
        return None
    is_beside = lies_in(folder, run.root.resolve().parent / "sweeps")
    return folder if folder.is_absolute() and is_beside and folder.is_dir() else None
