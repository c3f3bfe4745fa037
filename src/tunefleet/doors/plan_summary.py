"""Plan summary: what is about to run, as `tunefleet plan` and every start print it."""

from __future__ import annotations

import sys

from tunefleet.base import modes, stdio, text
from tunefleet.plan import Plan
from tunefleet.plan.start_from import shorter


def announce(plan: Plan) -> None:
    """Prints what is about to run, before any rank writes to the same console."""
    print(text.listed(plan.summary(), stdio.width()))
    access = modes.note(plan.paths.root, plan.config.launch.access.value)
    for note in [*plan.notes, *_from_scratch(plan), *[access] * bool(access)]:
        print(f"note: {note}")
    sys.stdout.flush()


def _from_scratch(plan: Plan) -> list[str]:
    """A user who raises the number of steps may expect a finished run to resume."""
    if (finished := shorter(plan)) is None:
        return []
    return [
        f"{finished.name} is finished and differs in its steps alone; this is a new run, from the same beginning. "
        f"train.start_from={finished.name} starts one from its weights."
    ]
