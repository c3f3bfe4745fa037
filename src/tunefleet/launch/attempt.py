"""Attempt of a SLURM job, its begin and its end: `python -m tunefleet.launch.attempt begin|end FOLDER`.

Both run in the batch script, on the first machine of the job: `begin` prints what the shell exports, `end` settles the
run's state, and may requeue the job. Where the run has ended, the sweep that it belongs to is advanced last.
docs/architecture.md draws the states that they move a run between.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tunefleet.base import failures, modes, reserve, status, stdio
from tunefleet.base.errors import DONE, FAILED, DiskError, UserError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import (
    advance,
    attempts,
    disk_endings,
    ending,
    local,
    queue,
    requeue,
    run_bundle,
    run_lock,
    snapshot,
    submission,
)
from tunefleet.launch.ending import Ending
from tunefleet.launch.local import free_port
from tunefleet.launch.queue import QueueError
from tunefleet.plan.plan import Plan

_END_JOB = "exit 0"  # nothing to do: or SLURM would call the job failed, and mail so
_FAIL_JOB = ""  # the batch script fails where `begin` exports nothing


def main() -> None:
    """Prints shell for `begin`; ends with the exit code of the job for `end`."""
    stdio.protect()
    modes.keep()
    act, folder, *code = sys.argv[1:]
    run, key = run_of_job(Path(folder))
    exit_code = DONE
    try:
        with disk_endings.settled(run):
            if act == "begin":
                print(begin(run, key, os.environ.get("TUNEFLEET_CODE", "")), flush=True)
            else:
                exit_code = end(run, key, int(code[0]))
    except DiskError as error:  # of `begin`: nothing is exported, and the batch script fails
        print(f"tunefleet: {error}", file=sys.stderr)
        exit_code = error.exit_code
    advance.after_job(run)
    sys.exit(exit_code)


def begin(run: RunPaths, key: str, code: str = "") -> str:
    """Opens an attempt; returns shell that exports what its ranks need.

    Shell that ends the job well where the run is done, cancelled, or another job's; empty, so that the job fails,
    where the run has failed, or fails now: the Python here does not run `code`, its port is taken, no progress.
    """
    plan = Plan.read(run.root)
    modes.keep(plan.config.launch.access.value)
    run_status = status.read(run.status) or Status(State.QUEUED)
    if reason := _not_its_turn(run, key, run_status, plan):
        print(f"tunefleet: {run.root.name} {reason}", file=sys.stderr)
        return _FAIL_JOB if run_status.state is State.FAILED else _END_JOB
    if run.cancelled.exists():
        _settle(run, ending.BY_USER)
        return _END_JOB
    if busy := _in_use(run):
        print(f"tunefleet: {busy}", file=sys.stderr)
        return _FAIL_JOB
    if obstacle := _unable(plan, code) or _no_progress(run, key, run_status, plan):
        _settle(run, obstacle)
        return _FAIL_JOB
    return _start(run, key, run_status, plan)


def _not_its_turn(run: RunPaths, key: str, run_status: Status, plan: Plan) -> str:
    """Why this job does not start the run: another job has it, or it is over; empty where it is this job's turn."""
    place = submission.place(run)
    if place and place.submission.key != key:  # SLURM had the job after its submitter died, and the user tried again
        return f"was submitted again since, as {place.submission.key}"
    if run_status.state.final and requeue.refusal(run_status.cause, [], plan.config.launch):
        return f"is {run_status.state.value} and does not start again"
    return ""


def _in_use(run: RunPaths) -> str:
    """Why this job must leave the directory alone, when it has waited for long enough; empty where it is free."""
    try:
        with run_lock.hold(run, run_lock.start_of_job(os.environ), run_lock.JOB_PATIENCE, "a batch script"):
            return ""
    except UserError as error:
        return str(error)


def _unable(plan: Plan, code: str) -> Ending | None:
    """Why the ranks could not start on this machine as they were planned; None where they can."""
    try:
        snapshot.expect_imported(code)
        local.expect_free(plan.config.launch.port)
    except UserError as error:
        return Ending(Cause.USER_ERROR, f"{error} (on {socket.gethostname()})")
    return None


def _no_progress(run: RunPaths, key: str, run_status: Status, plan: Plan) -> Ending | None:
    """Why a run that was killed earlier does not start once more; None where it does."""
    done = attempts.read(run, key)
    if not done:
        return None
    killed = [*done[:-1], replace(done[-1], last=run_status.saved_step)] if done[-1].last is None else done
    refusal = requeue.refusal(Cause.NODE_FAILURE, killed, plan.config.launch)
    earlier = f" (before: {run_status.reason})" if run_status.reason else ""
    return Ending(Cause.NO_PROGRESS, f"{refusal}{earlier}") if refusal else None


def _start(run: RunPaths, key: str, run_status: Status, plan: Plan) -> str:
    """The attempt is open, the run starting: returns what its ranks need, as shell. Raises `DiskError`."""
    reserve.keep(run.root)
    failures.clear(run)
    run.stop.unlink(missing_ok=True)
    attempts.begin(run, key, job_number())
    starting = run_status.moved(
        state=State.STARTING, cause=Cause.NONE, reason="", job=job_number(), restarts=_restarts()
    )
    status.write(run.status, starting)
    port = str(plan.config.launch.port or free_port())
    return _exports({"TUNEFLEET_RUN": str(run.root), "MASTER_ADDR": _address(plan), "MASTER_PORT": port})


def end(run: RunPaths, key: str, code: int) -> int:
    """Settles the attempt after its ranks are gone; returns the exit code of the job.

    Where another start has the run's directory, what stands there is that one's.
    """
    if rivals := run_lock.rivals(run, run_lock.start_of_job(os.environ)):
        print(f"tunefleet: {run.root.name} is left to {rivals[0].describe()}", file=sys.stderr)
        return code or FAILED
    job_state, outcome = _close(run, key, code)
    if outcome.state is State.FINISHED:
        return DONE
    if outcome.state.ended_well:
        _settle(run, outcome)
        return DONE
    in_queue = job_state == "REQUEUED"  # by SLURM itself, after the failure of another machine
    refusal = requeue.refusal(outcome.cause, attempts.read(run, key), Plan.read(run.root).config.launch)
    if refusal is None:
        return _requeue(run, outcome, in_queue)
    if in_queue:
        queue.cancel([job_number()])
    retryable = requeue.retryable(outcome.cause)  # else its reason says enough
    _settle(run, replace(outcome, reason=f"{outcome.reason}; {refusal}") if retryable else outcome)
    if outcome.state is State.FAILED and outcome.cause not in (Cause.USER_ERROR, Cause.DISK):
        print(run_bundle.hint(str(run.root)))
    return code or FAILED


def _close(run: RunPaths, key: str, code: int) -> tuple[str, Ending]:
    """Writes down how the attempt ended; returns SLURM's state of the job, and that ending."""
    run_status = status.read(run.status) or Status(State.STARTING)
    job_state = queue.state_of(job_number(), _restarts())
    outcome = ending.of_attempt(run_status, failures.read_all(run), code, job_state, run.cancelled.exists())
    opened = attempts.read(run, key)[-1]
    attempts.write(run, replace(opened, last=run_status.saved_step, cause=outcome.cause, reason=outcome.reason))
    return job_state, outcome


def _requeue(run: RunPaths, outcome: Ending, in_queue: bool) -> int:
    """Sends the job back into the queue, unless it is there already."""
    if (
        queue.state_of(job_number(), _restarts()) == "CANCELLED"
    ):  # by scancel, since `end` looked: requeueing would undo it
        _settle(run, ending.BY_SCANCEL)
        return FAILED
    run_status = status.read(run.status) or Status(State.STARTING)
    restarts = run_status.restarts + 1
    requeued = run_status.moved(state=State.REQUEUED, cause=outcome.cause, reason=outcome.reason, restarts=restarts)
    status.write(run.status, requeued)
    try:
        if not in_queue:
            queue.requeue(job_number())
    except QueueError as error:
        _settle(run, replace(outcome, reason=f"{outcome.reason}; it could not go back into the queue: {error}"))
        return FAILED
    return DONE


def _settle(run: RunPaths, outcome: Ending) -> None:
    """The one final state."""
    run_status = status.read(run.status) or Status(State.STARTING)
    status.write(run.status, outcome.final_status(run_status))
    print(f"tunefleet: {outcome.state.value}: {outcome.reason}", file=sys.stderr)


def run_of_job(folder: Path) -> tuple[RunPaths, str]:
    """The run of this job, of an array the one with its index; gives the submission the job's number."""
    submitted = submission.read(folder)
    if submitted.job is None:
        with suppress(DiskError):  # then it is found by the job's comment
            submitted.accepted(os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"]))
    return RunPaths(Path(submitted.runs[int(os.environ.get("SLURM_ARRAY_TASK_ID", 0))])), submitted.key


def job_number() -> str:
    """SLURM's number of this job, of an array with its index."""
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def _restarts() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", 0))


def _address(plan: Plan) -> str:
    """How the other machines reach this one; where there are none, an address that no other machine reaches."""
    if plan.layout.processes_here == plan.layout.world_size:
        return "127.0.0.1"
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
