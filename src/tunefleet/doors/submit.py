"""Hands planned runs to SLURM: looks whether they may start, submits them, says how to follow them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tunefleet.base.errors import DONE, FAILED
from tunefleet.base.status import State
from tunefleet.doors import compose, watch
from tunefleet.doors.start import alone, announce, expect_own, finished
from tunefleet.launch import provenance, slurm, snapshot
from tunefleet.launch.provenance import Provenance
from tunefleet.launch.queue import QueueError
from tunefleet.launch.slurm import Batch
from tunefleet.launch.standing import Observer
from tunefleet.launch.submission import Submission
from tunefleet.plan import Plan

_SHOWN = 10  # runs named one by one


@dataclass(frozen=True)
class Wish:
    """A planned run and what the person typed for it."""

    plan: Plan
    words: Sequence[str]


def submit(wishes: Sequence[Wish]) -> int:
    """Submits every run that is not done or under way; returns the exit code.

    Raises `RunError`, before anything is sent, where a directory is somebody else's. With `launch.dry_run`
    it shows the batch scripts instead; with `launch.wait` it stays until the jobs end.
    """
    for wish in wishes:
        expect_own(wish.plan)
    if wishes[0].plan.config.launch.dry_run:
        return _show([wish.plan for wish in wishes])
    observer = Observer()
    wanted = [wish for wish in wishes if _may_start(wish.plan, observer)]
    codes = _send(wanted) if wanted else DONE
    if wishes[0].plan.config.launch.wait:
        return watch.wait([wish.plan.paths for wish in wishes])
    return codes


def _may_start(plan: Plan, observer: Observer) -> bool:
    """Says so where the run is done, or waits or runs already."""
    now = observer.status(plan.paths)
    if now is None or (now.state.final and now.state is not State.FINISHED):
        return True
    if not finished(plan):
        print(
            f"{plan.name} is {now.state.value} already{f' as job {now.job}' if now.job else ''}: see tunefleet status."
        )
    return False


def _send(wishes: Sequence[Wish]) -> int:
    repository = compose.CONF.parent
    outputs = Path(wishes[0].plan.run_dir).parent
    code = _code(wishes[0].plan, repository, outputs)
    origin = provenance.record(repository, code.digest if code else "")
    with ExitStack() as held:
        for wish in wishes:
            held.enter_context(alone(wish.plan))
            wish.plan.save()
            provenance.write(wish.plan.paths.provenance, _of(wish, origin))
        path = code.python_path if code else repository / "src"
        return _submit_all(slurm.batches([wish.plan for wish in wishes], path), outputs)


def origin_of(wish: Wish) -> Provenance:
    """Where a run that starts now comes from."""
    return _of(wish, provenance.record(compose.CONF.parent))


def _of(wish: Wish, origin: Provenance) -> Provenance:
    data = wish.plan.config.data
    paths = [path for path in (data.path, data.validation_path) if path]
    return replace(origin, words=list(wish.words), data=provenance.digests(paths))


def _code(plan: Plan, repository: Path, outputs: Path) -> snapshot.Snapshot | None:
    return snapshot.take(repository, outputs / "code") if plan.config.launch.snapshot else None


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
    run = os.path.relpath(plans[0].run_dir)
    print("next:", *(f"  tunefleet {words} {run}" for words in ("status", "logs -f", "cancel")), sep="\n", flush=True)


def _show(plans: Sequence[Plan]) -> int:
    """The dry run: every script, and what all of it costs at most."""
    outputs = Path(plans[0].run_dir).parent
    batches = slurm.batches(plans, compose.CONF.parent / "src")
    for batch in batches:
        print(batch.script(Submission(str(outputs / "submissions" / "DRY-RUN"), (), 0.0, "", 0)))
    hours = sum(plan.job.gpu_hours for plan in plans if plan.job)
    print(
        f"# {len(plans)} runs in {len(batches)} submissions, at most {hours:g} GPU-hours a start; nothing was submitted"
    )
    return DONE
