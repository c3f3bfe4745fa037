"""Hands planned runs to SLURM: looks whether they may start, submits them, says how to follow them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tunefleet.base.errors import DONE, FAILED
from tunefleet.base.status import State
from tunefleet.doors import unchanged, watch
from tunefleet.doors.start import REPOSITORY, alone, announce, done, expect_own
from tunefleet.launch import project, provenance, slurm, snapshot, submission
from tunefleet.launch.queue import QueueError
from tunefleet.launch.slurm import Batch
from tunefleet.launch.standing import Observer
from tunefleet.launch.submission import Submission
from tunefleet.plan import Plan

_SHOWN = 10  # runs named one by one
_OWN_CODE = project.IMPORTED_FROM


def submit(plans: Sequence[Plan], together: str = "") -> int:
    """Submits every run that is not done or under way; returns the exit code. `together` is the name of a sweep.

    Raises `RunError`, before anything is sent, where a directory is somebody else's, or files have changed. With
    `launch.dry_run` it shows the batch scripts instead; with `launch.wait` it stays until the jobs end.
    """
    launch = plans[0].config.launch
    if not launch.dry_run:
        plans = [unchanged.recorded(plan) for plan in plans]
    for plan in plans:
        expect_own(plan)
    if launch.dry_run:
        return _show(plans)
    observer = Observer()
    wanted = [plan for plan in plans if _may_start(plan, observer)]
    code = _send(wanted, observer) if wanted else DONE
    _tell_next(together or os.path.relpath(plans[0].run_dir))
    return watch.wait([plan.paths for plan in plans]) if launch.wait else code


def _may_start(plan: Plan, observer: Observer) -> bool:
    """Says so where the run is done, or waits or runs already."""
    now = observer.status(plan.paths)
    if now is None or (now.state.final and now.state is not State.FINISHED):
        return True
    if now.state is State.FINISHED:
        print(done(plan))
    else:
        place = submission.place(plan.paths)
        job = f" as job {place.job}" if place and place.job else ""
        print(f"{plan.name} is {now.state.value} already{job}.")
    return False


def _send(plans: Sequence[Plan], observer: Observer) -> int:
    outputs = Path(plans[0].run_dir).parent
    code = snapshot.take(REPOSITORY, outputs / "code") if plans[0].config.launch.snapshot else None
    origin = provenance.record(REPOSITORY, code.digest if code else "")
    with ExitStack() as held:
        for plan in plans:
            held.enter_context(alone(plan))
        plans = [plan for plan in plans if _may_start(plan, observer)]  # or somebody was faster since we looked
        for plan in plans:
            plan.save()
            provenance.write(plan.paths.provenance, origin)
        return _submit_all(slurm.batches(plans, code.python_path if code else _OWN_CODE), outputs)


def _submit_all(batches: Sequence[Batch], outputs: Path) -> int:
    """One refused batch does not keep the others from being submitted."""
    code = DONE
    for batch in batches:
        try:
            _tell(batch, slurm.submit(batch, outputs))
        except QueueError as error:
            print(f"tunefleet: {error}", file=sys.stderr)
            code = FAILED
    return code


def _tell(batch: Batch, submitted: Submission) -> None:
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
        *(f"  tunefleet {words}" for words in (f"status {name}", follow, f"cancel {name}")),
        sep="\n",
        flush=True,
    )


def _show(plans: Sequence[Plan]) -> int:
    """The dry run: every script, and what all of it costs at most."""
    outputs = Path(plans[0].run_dir).parent
    batches = slurm.batches(plans, _OWN_CODE)
    for batch in batches:
        print(batch.script(Submission(str(outputs / "submissions" / "DRY-RUN"), (), 0.0, "", 0)))
    hours = sum(plan.job.gpu_hours for plan in plans if plan.job)
    print(
        f"# {len(plans)} runs in {len(batches)} submissions, at most {hours:g} GPU-hours a start; nothing was submitted"
    )
    return DONE
