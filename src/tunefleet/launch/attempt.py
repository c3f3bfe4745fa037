"""The two ends of a job of SLURM, on its first machine: `python -m tunefleet.launch.attempt begin|end FOLDER`.

`begin` prints what the shell of the job exports; `end` settles how the run stands, and may requeue the job.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from dataclasses import replace
from pathlib import Path

from tunefleet.base import failures, status, stdio
from tunefleet.base.errors import DONE, FAILED, UserError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import attempts, ending, local, queue, snapshot, submission
from tunefleet.launch.ending import Ending
from tunefleet.launch.local import free_port
from tunefleet.launch.queue import QueueError
from tunefleet.plan.plan import Plan

_NOTHING_TO_DO = "exit 0"  # or SLURM would call the job failed, and mail so


def main() -> None:
    """Prints shell for `begin`; ends with the exit code of the job for `end`."""
    stdio.protect()
    what, folder, *code = sys.argv[1:]
    run, key = _run(Path(folder))
    if what == "begin":
        print(begin(run, key, os.environ.get("TUNEFLEET_CODE", "")))
    else:
        sys.exit(end(run, key, int(code[0])))


def begin(run: RunPaths, key: str, code: str = "") -> str:
    """Opens an attempt; returns shell that exports what its ranks need.

    Shell that ends the job well where the run is done, cancelled, or another job's; empty, so that the job fails,
    where the run has failed, or fails now: the Python here does not run `code`, its port is taken, no progress.
    """
    plan = Plan.read(run.root)
    now = status.read(run.status) or Status(State.QUEUED)
    if not _is_its_turn(run, key, now, plan):
        return "" if now.state is State.FAILED else _NOTHING_TO_DO
    if run.cancelled.exists():
        _settle(run, ending.BY_A_PERSON)
        return _NOTHING_TO_DO
    over = _unable(plan, code) or _no_progress(run, key, now, plan)
    if over:
        _settle(run, over)
        return ""
    failures.clear(run)
    run.stop.unlink(missing_ok=True)
    attempts.begin(run, key, _job())
    starting = now.moved(state=State.STARTING, cause=Cause.NONE, reason="", job=_job(), restarts=_restarts())
    status.write(run.status, starting)
    port = str(plan.config.launch.port or free_port())
    return _exports({"TUNEFLEET_RUN": str(run.root), "MASTER_ADDR": _address(), "MASTER_PORT": port})


def _unable(plan: Plan, code: str) -> Ending | None:
    """Why the ranks could not start on this machine as they were planned; None where they can."""
    try:
        snapshot.expect_imported(code)
        local.expect_free(plan.config.launch.port)
    except UserError as error:
        return Ending(Cause.USER_ERROR, f"{error} (on {socket.gethostname()})")
    return None


def _is_its_turn(run: RunPaths, key: str, now: Status, plan: Plan) -> bool:
    """Whether this job is the run's last one, and the run not over; else says why it is not."""
    place = submission.place(run)
    said = ""
    if place and place.submission.key != key:  # SLURM had the job after its submitter died, and a person tried again
        said = f"was submitted again since, as {place.submission.key}"
    elif now.state.final and attempts.refusal(now.cause, [], plan.config.launch):
        said = f"is {now.state.value} and does not start again"
    if said:
        print(f"tunefleet: {run.root.name} {said}", file=sys.stderr)
    return not said


def _no_progress(run: RunPaths, key: str, now: Status, plan: Plan) -> Ending | None:
    """Why a run that was killed before does not start once more; None where it does."""
    done = attempts.read(run, key)
    if not done:
        return None
    killed = [*done[:-1], replace(done[-1], last=now.saved_step)] if done[-1].last is None else done
    refused = attempts.refusal(Cause.NODE_FAILURE, killed, plan.config.launch)
    before = f" (before: {now.reason})" if now.reason else ""
    return Ending(Cause.NO_PROGRESS, f"{refused}{before}") if refused else None


def end(run: RunPaths, key: str, code: int) -> int:
    """Settles the attempt after its ranks are gone; returns the exit code of the job."""
    now = status.read(run.status) or Status(State.STARTING)
    job_state = queue.state_of(_job(), _restarts())
    found = ending.of_attempt(now, failures.read_all(run), code, job_state, run.cancelled.exists())
    opened = attempts.read(run, key)[-1]
    attempts.write(run, replace(opened, last=now.saved_step, cause=found.cause))
    if found.cause is Cause.NONE:
        return DONE
    refused = attempts.refusal(found.cause, attempts.read(run, key), Plan.read(run.root).config.launch)
    in_queue = job_state == "REQUEUED"
    if refused is None:
        return _again(run, found, in_queue)
    if in_queue:
        queue.cancel([_job()])
    _settle(run, replace(found, reason=f"{found.reason}; {refused}") if attempts.mendable(found.cause) else found)
    return code or FAILED


def _again(run: RunPaths, found: Ending, in_queue: bool) -> int:
    """Sends the job back into the queue, unless SLURM has done so: after the failure of another machine."""
    if queue.state_of(_job(), _restarts()) == "CANCELLED":  # by scancel, since we looked: requeueing would undo it
        _settle(run, ending.BY_SCANCEL)
        return FAILED
    now = status.read(run.status) or Status(State.STARTING)
    again = now.moved(state=State.REQUEUED, cause=found.cause, reason=found.reason, restarts=now.restarts + 1)
    status.write(run.status, again)
    try:
        if not in_queue:
            queue.requeue(_job())
    except QueueError as error:
        _settle(run, replace(found, reason=f"{found.reason}; it could not go back into the queue: {error}"))
        return FAILED
    return DONE


def _settle(run: RunPaths, found: Ending) -> None:
    """The one final state."""
    now = status.read(run.status) or Status(State.STARTING)
    status.write(run.status, found.of(now))
    print(f"tunefleet: {found.state.value}: {found.reason}", file=sys.stderr)


def _run(folder: Path) -> tuple[RunPaths, str]:
    """The run of this job, of an array the one with its index; tells the submission the job's number."""
    found = submission.read(folder)
    if found.job is None:
        found.accepted(os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"]))
    return RunPaths(Path(found.runs[int(os.environ.get("SLURM_ARRAY_TASK_ID", 0))])), found.key


def _job() -> str:
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def _restarts() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", 0))


def _address() -> str:
    """How the other machines reach this one."""
    name = os.environ.get("SLURMD_NODENAME", "")
    try:
        socket.getaddrinfo(name or socket.gethostname(), None)
    except OSError:
        return socket.gethostname()
    return name or socket.gethostname()


def _exports(values: dict[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


if __name__ == "__main__":
    main()
