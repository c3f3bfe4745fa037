"""Submitting planned runs to SLURM: checks whether they may start, submits them, prints how to follow them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tunefleet.base import modes, progress
from tunefleet.base.errors import DONE, FAILED, RunError
from tunefleet.base.status import State
from tunefleet.doors import look_ahead, status, unchanged
from tunefleet.doors.plan_summary import announce
from tunefleet.doors.start import REPOSITORY, done, expect_own
from tunefleet.launch import batch_script, job_batch, project, provenance, queue, run_lock, slurm, snapshot, submission
from tunefleet.launch.job_batch import Batch
from tunefleet.launch.run_state import StatusReader
from tunefleet.launch.slurm import Outcome
from tunefleet.launch.snapshot import Snapshot
from tunefleet.launch.submission import Submission
from tunefleet.plan import Plan

_SHOWN = 10  # runs named one by one
OWN_CODE = project.IMPORTED_FROM


def submit(plans: Sequence[Plan], sweep: str = "") -> int:
    """Submits every run that is not done or running; returns the exit code. `sweep` is the name of a sweep.

    Raises as `expect_submittable`, before anything is sent, and `RunError` where files have changed. With
    `launch.dry_run` it shows the batch scripts instead; with `launch.wait` it stays until the jobs end.
    """
    if plans[0].config.launch.dry_run:
        for plan in plans:
            expect_own(plan)
        return _show(plans)
    plans = [unchanged.recorded(plan) for plan in plans]
    expect_submittable(plans)
    return send(plans, sweep)


def expect_submittable(plans: Sequence[Plan]) -> None:
    """Raises `RunError` where a directory is another run's, `DataError` where the first rows cannot be used."""
    for plan in plans:
        expect_own(plan)
    look_ahead.expect_readable(plans)


def send(plans: Sequence[Plan], sweep: str = "") -> int:
    """As `submit`, for plans that know what their files hold and have been looked at."""
    launch = plans[0].config.launch
    name = sweep or os.path.relpath(plans[0].run_dir)
    reader = StatusReader()
    startable = _startable(plans, reader)
    code = _send(startable, reader, sweep) if startable else DONE
    _tell_next(name)
    started = [
        plan.paths for plan in plans if plan.paths.status.exists()
    ]  # those that a limit keeps out would never end
    return max(code, status.wait(started)) if launch.wait and started else code


def _startable(plans: Sequence[Plan], reader: StatusReader) -> list[Plan]:
    """Those that are neither done, nor wait or run already; reports the others."""
    reasons = [(plan, _why_not(plan, reader)) for plan in plans]
    messages = [reason for _, reason in reasons if reason]
    for message in messages[:_SHOWN]:
        print(message)
    if len(messages) > _SHOWN:
        print(f"... and {len(messages) - _SHOWN} more that are done, wait or run already")
    return [plan for plan, reason in reasons if not reason]


def _why_not(plan: Plan, reader: StatusReader) -> str:
    """Why a run does not start; empty where it may."""
    run_status = reader.status(plan.paths)
    if run_status is None or (run_status.state.final and run_status.state is not State.FINISHED):
        return ""
    if run_status.state is State.FINISHED:
        return done(plan)
    place = submission.place(plan.paths)
    job = f" as job {place.job}" if place and place.job else ""
    return f"{plan.name} is {run_status.state.value} already{job}."


def send_quietly(plans: Sequence[Plan], reader: StatusReader) -> list[Outcome]:
    """Submits those that are neither done, nor wait or run already, without a word: for a search, which reports itself.

    Raises `RunError` where the code cannot be copied, or a run's directory is in use.
    """
    startable = [plan for plan in plans if not _why_not(plan, reader)]
    return _outcomes(startable, reader) if startable else []


def _send(plans: Sequence[Plan], reader: StatusReader, name: str) -> int:
    outcomes = _outcomes(plans, reader)
    _report(outcomes, name)
    return FAILED if any(outcome.message for outcome in outcomes) else DONE


def _outcomes(plans: Sequence[Plan], reader: StatusReader) -> list[Outcome]:
    """One refused batch does not keep the others from being submitted."""
    outputs = Path(plans[0].run_dir).parent
    modes.keep(plans[0].config.launch.access.value)
    code = _code(plans[0], outputs)
    origin = provenance.record(REPOSITORY, code.digest if code else "")
    with ExitStack() as locks:
        for plan in plans:
            locks.enter_context(run_lock.hold(plan.paths, role="a submitter"))
        plans = _startable(plans, reader)  # or another submitter was faster since
        for plan in progress.over(plans, "writing plans"):
            plan.save()
            provenance.write(plan.paths.provenance, origin)
        batches = job_batch.batches(plans, code.python_path if code else OWN_CODE)
        return [slurm.submit_what_fits(batch, outputs) for batch in progress.over(batches, "submitting, batches")]


def _code(plan: Plan, outputs: Path) -> Snapshot | None:
    """The copy of the code that the jobs run; None where they run the code itself."""
    copied = plan.config.launch.snapshot
    if ":" in str(outputs if copied else OWN_CODE):  # Python would look for the code at both sides of it
        raise RunError(
            f"output_dir: {outputs} has a colon, so Python could not find the copy of the code in it. Use another one."
            if copied
            else f"launch.snapshot: {OWN_CODE} has a colon, so Python could not find the code in it. Leave it out."
        )
    if not copied:
        return None
    untracked = plan.config.launch.snapshot_untracked
    _note_left_out(project.left_out(REPOSITORY, untracked))
    return snapshot.take(REPOSITORY, outputs / "code", untracked)


def _note_left_out(names: Sequence[Path]) -> None:
    if names:
        shown = ", ".join(map(str, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
        print(
            f"note: git does not track {shown}: the job's copy of the code is without. git add brings it in, or "
            "launch.snapshot_untracked=[src]."
        )


def _report(outcomes: Sequence[Outcome], name: str) -> None:
    """Everything was sent before."""
    for outcome in outcomes:
        for part, submitted in outcome.submitted:
            _announce_batch(part, submitted)
        if outcome.message and not outcome.waiting:
            print(f"tunefleet: {outcome.message}", file=sys.stderr)
    _report_waiting(outcomes, name)
    if ignored := queue.ignored_variables():
        print(f"note: {', '.join(ignored)} of your shell: not used, a job asks for what launch.* sets.")


def _report_waiting(outcomes: Sequence[Outcome], name: str) -> None:
    waiting = [plan.name for outcome in outcomes for plan in outcome.waiting]
    if waiting:
        total = len(waiting) + sum(len(part.plans) for outcome in outcomes for part, _ in outcome.submitted)
        reasons = "; ".join(dict.fromkeys(outcome.message for outcome in outcomes if outcome.waiting))
        print(
            f"tunefleet: {len(waiting)} of {total} runs wait, not submitted: the site takes no more now ({reasons}). "
            f"Once some have ended: tunefleet resume {name or ' '.join(waiting)}",
            file=sys.stderr,
        )


def _announce_batch(batch: Batch, submitted: Submission) -> None:
    plans = batch.plans
    if len(plans) == 1:
        announce(plans[0])
    print(f"submitted  job {submitted.job}" + (f", an array of {len(plans)} runs" if len(plans) > 1 else ""))
    for plan in plans[: _SHOWN if len(plans) > 1 else 0]:
        print(f"  {os.path.relpath(plan.run_dir)}")
    if len(plans) > _SHOWN:
        print(f"  ... and {len(plans) - _SHOWN} more")


def _tell_next(name: str) -> None:
    """Three commands to follow a run, or a sweep; one of its runs has the log."""
    follow = "logs -f RUN" if name.startswith("sweep-") else f"logs -f {name}"
    print(
        "next:",
        *(f"  tunefleet {command}" for command in (f"status {name}", follow, f"cancel {name}")),
        sep="\n",
        flush=True,
    )


def _show(plans: Sequence[Plan]) -> int:
    """The dry run: every script, and what all of it costs at most."""
    outputs = Path(plans[0].run_dir).parent
    batches = job_batch.batches(plans, OWN_CODE)
    for batch in batches:
        print(batch_script.text(batch, Submission(str(outputs / "submissions" / "DRY-RUN"), (), 0.0, "", 0)))
    hours = sum(plan.job.gpu_hours for plan in plans if plan.job)
    print(
        f"# {len(plans)} runs in {len(batches)} submissions, at most {hours:g} GPU-hours a start; nothing was submitted"
    )
    return DONE
