"""Announcement of a run: what it prints and writes down before the first step of a start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from tunefleet.base import files, status
from tunefleet.base.status import State, Status
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.plan.plan import Plan
from tunefleet.runs import resume_checks, run_summary
from tunefleet.runs.inputs import RunInputs
from tunefleet.runs.run_output import RunOutput


def announce(
    plan: Plan,
    inputs: RunInputs,
    store: CheckpointStore,
    state: RunState,
    output: RunOutput,
    legend: Mapping[str, str],
) -> None:
    """Says on what the run trains, and where it resumes from; `legend` explains numbers that are to come."""
    previous = status.read(plan.paths.status)
    output.write_status(State.RUNNING, state, saved_step=state.step)
    if output.is_written:
        with output.noting():
            files.write_json(plan.paths.data, asdict(inputs.data.train.card))
    output.note_order(state)
    output.console.print_table({**run_summary.data_rows(plan, inputs), **legend})
    _print_origin(plan, store, state, previous, output)


def _print_origin(
    plan: Plan, store: CheckpointStore, state: RunState, previous: Status | None, output: RunOutput
) -> None:
    """Which checkpoint the run resumes from, or why from none that there was; `previous` is how it stood."""
    print_line = output.console.print_line
    if store.note:
        print_line(store.note)
    if previous and previous.saved_step and not state.step:
        print_line(
            f"step {previous.saved_step} was saved, and {plan.paths.checkpoints} has no checkpoint any more: "
            "starting again from the first step"
        )
    if state.step:
        print_line(f"resuming from step {state.step}")
    for note in resume_checks.notes(store.origin, plan):
        print_line(f"note: {note}")
