"""`tunefleet rm`: removes runs for good, after a question, and only what is a run of this outputs folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tunefleet.base import files, sweeps
from tunefleet.base.errors import DONE, FAILED, RunError
from tunefleet.base.paths import RunPaths
from tunefleet.doors.status import state
from tunefleet.launch import run_lock
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader


def remove(names: Sequence[str], outputs: Path, yes: bool) -> int:
    """Removes the runs `names`, each a whole name or a directory, or all points of a sweep; returns the exit code.

    Asks first, unless `yes`; of a sweep the answer is its name, whatever `yes` says. Raises `RunError`, before anything
    is removed, where a name is no run of `outputs`, or the run is not over.
    """
    reader = StatusReader()
    runs: dict[Path, Run] = {}
    questions = []
    for name in names:
        sweep = None if _is_there(Path(name)) or _is_there(outputs / name) else sweeps.read(outputs, name)
        folders = [Path(point.run_dir) for point in sweep.points] if sweep else [_folder(name, outputs)]
        points = [_expect_over(_run(folder, outputs), reader) for folder in folders if not sweep or _is_there(folder)]
        runs |= {run.paths.root: run for run in points}
        questions += [sweep.name] if sweep else []
    print("\n".join(f"{run.name}  {state(run, reader.status(run.paths))}  {_size(run)}" for run in runs.values()))
    if not (all(_is_typed(name) for name in questions) if questions else yes or _is_typed("yes")):
        print("nothing was removed")
        return FAILED
    for run in runs.values():
        with run_lock.hold(run.paths, role="tunefleet rm"):
            shutil.rmtree(run.paths.root)  # follows no link inside
        sweeps.forget(outputs, run.paths.root)
        print(f"removed {run.name}")
    return DONE


def _folder(name: str, outputs: Path) -> Path:
    """The directory that `name` means; not by the beginning of a name, as elsewhere."""
    fits = [folder for folder in (Path(name), outputs / name) if name.strip(" ./") and _is_there(folder)]
    if not fits:
        raise RunError(f"{name}: no run of that name in {outputs}. rm takes whole names; tunefleet ls lists them.")
    return fits[0]


def _is_there(folder: Path) -> bool:
    try:
        return (folder / "plan.json").exists()
    except (OSError, ValueError):
        return False


def _run(folder: Path, outputs: Path) -> Run:
    """The run in `folder`. Raises `RunError` for what is a link, lies elsewhere, or is no run."""
    plain = Path(os.path.normpath(folder.absolute()))
    if plain.is_symlink():
        raise RunError(f"{folder}: is a link to {os.readlink(plain)}, which stays. Remove the link itself: rm {folder}")
    if plain.resolve().parent != outputs.resolve():
        raise RunError(f"{folder}: lies outside of {outputs}. tunefleet --outputs {plain.parent} rm {plain.name}")
    run = Run(RunPaths(plain.resolve()))
    if not _is_ours(run):
        raise RunError(f"{run.paths.plan}: not a plan of tunefleet, so nothing there is removed.")
    return run


def _is_ours(run: Run) -> bool:
    """Also a damaged plan, where a status shows what the directory is."""
    try:
        files.read_json(run.paths.plan)
    except (OSError, ValueError):
        return run.paths.status.exists()
    return "identity" in run.plan


def _expect_over(run: Run, reader: StatusReader) -> Run:
    run_status = reader.status(run.paths)
    if run_status and not run_status.state.final:
        raise RunError(f"{run.name}: is {run_status.state.value}. End it first: tunefleet cancel {run.name}")
    if processes := run_lock.rivals(run.paths):
        raise RunError(f"{run.name}: is being used by a process ({processes[0].describe()}). Wait for it.")
    return run


def _is_typed(answer: str) -> bool:
    """Whether the user types `answer`; raises `RunError` where there is no terminal to ask on."""
    if not sys.stdin.isatty():
        way = "Name its runs one by one with --yes." if answer != "yes" else "--yes removes without a question."
        raise RunError(f"rm: asks before it removes, and there is no terminal. {way}")
    try:
        return input(f"Remove them for good? Type {answer}: ").strip() == answer
    except EOFError:
        return False


def _size(run: Run) -> str:
    sizes = (
        os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(run.paths.root) for name in names
    )
    return f"{sum(sizes) / 2**20:,.1f} MiB"
