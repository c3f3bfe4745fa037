"""Commands for a trial's run: to reproduce it, to train it longer, to talk with it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from tunefleet.base.paths import RunPaths
from tunefleet.sweep.study import TrialRun

_OF_THE_RUN = (
    "name=",
    "tracking.run_name=",
    "tracking.group=",
    "train.start_from=",
    "train.max_steps=",
    "train.epochs=",
)
"""What the words of a run that goes on from its weights must not repeat."""
_NO_SEARCH = "~sweep"  # takes the search out of its own file, whose other settings the run has


def commands(run: TrialRun) -> dict[str, str]:
    """{what it does: what is typed}, for a shell in this folder."""
    run_dir = os.path.relpath(run.run_dir)
    return {
        "reproduce": shlex.join(["tunefleet", "reproduce", run_dir]),
        "the whole command": _train(run.overrides),
        "train longer": _after_export(run, run_dir, _train(_longer(run, run_dir))),
        "chat": shlex.join(["tunefleet", "chat", run_dir]),
    }


def _train(overrides: Sequence[str]) -> str:
    of_search = any(text.lstrip("+").startswith("sweeps=") for text in overrides)
    return shlex.join(["python", "train.py", *overrides, *([_NO_SEARCH] if of_search else [])])


def _after_export(run: TrialRun, run_dir: str, command: str) -> str:
    """Another run starts from an export, which trials of a sweep often do without."""
    if RunPaths(Path(run.run_dir)).export.is_dir():
        return command
    return f"{shlex.join(['tunefleet', 'export', run_dir])} && {command}"


def _longer(run: TrialRun, run_dir: str) -> list[str]:
    """As many steps again from its weights, under a schedule of their own."""
    overrides = [text for text in run.overrides if not text.lstrip("+").startswith(_OF_THE_RUN)]
    steps = [f"train.max_steps={run.total_steps}"] if run.total_steps else []
    return [*overrides, f"train.start_from={run_dir}", *steps]
