"""Commands for a trial's run: to reproduce it, to train it longer, to talk with it."""

from __future__ import annotations

import os
import shlex

from tunefleet.sweep.study import TrialRun

_OF_THE_RUN = ("name=", "train.start_from=")  # what a run that goes on must not repeat


def commands(run: TrialRun) -> dict[str, str]:
    """{what it does: what is typed}, for a shell in this folder."""
    place = os.path.relpath(run.run_dir)
    return {
        "reproduce": shlex.join(["tunefleet", "reproduce", place]),
        "the whole command": shlex.join(["python", "train.py", *run.overrides]),
        "train longer": shlex.join(["python", "train.py", *_longer(run, place)]),
        "chat": shlex.join(["tunefleet", "chat", place]),
    }


def _longer(run: TrialRun, place: str) -> list[str]:
    """As many steps again from its weights, under a schedule of their own."""
    overrides = [text for text in run.overrides if not text.lstrip("+").startswith(_OF_THE_RUN)]
    steps = [f"train.max_steps={run.total_steps}"] if run.total_steps else []
    return [*overrides, f"train.start_from={place}", *steps]
