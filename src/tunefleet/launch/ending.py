"""Ending of an attempt: its cause and the one final state, from files, exit codes and SLURM's state of the job."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunefleet.base import failures
from tunefleet.base.failures import Failure
from tunefleet.base.status import Cause, State, Status

_SAVED = (Cause.TIME_LIMIT, Cause.TERMINATED, Cause.INTERRUPT, Cause.STOP_FILE, Cause.RUNG, Cause.PRUNED)
_SIGNALLED = {
    137: "SIGKILL",
    143: "SIGTERM",
    139: "SIGSEGV",
    134: "SIGABRT",
    140: "SIGUSR2",
    138: "SIGUSR1",
    129: "SIGHUP",
}
HINTS: dict[int, str] = {
    signal.SIGKILL: "the system may be out of memory",
    signal.SIGABRT: "NCCL's watchdog ends a process so where another one is gone or silent",
}
"""What a signal that nobody sent may mean."""
_BY_JOB = {
    "CANCELLED": Cause.CANCELLED,
    "PREEMPTED": Cause.PREEMPTED,
    "TIMEOUT": Cause.TIME_LIMIT,
    "DEADLINE": Cause.TIME_LIMIT,
    "OUT_OF_MEMORY": Cause.OUT_OF_MEMORY,
    "NODE_FAIL": Cause.NODE_FAILURE,
    "BOOT_FAIL": Cause.NODE_FAILURE,
    "LAUNCH_FAILED": Cause.NODE_FAILURE,
}

_HINTS = {"JobLaunchFailure": ". No machine could start it: output_dir must lie on a disk that all of them share"}


@dataclass(frozen=True)
class Ending:
    """Why an attempt ended, as it is shown."""

    cause: Cause
    reason: str
    stopped: bool = False
    """Whether it left because it was asked to, outside SLURM: then also ahead of a limit it is interrupted."""

    @property
    def state(self) -> State:
        """The final state, where the run does not start again."""
        special = {
            Cause.NONE: State.FINISHED,
            Cause.RUNG: State.PAUSED,
            Cause.PRUNED: State.PRUNED,
            Cause.CANCELLED: State.CANCELLED,
            Cause.PREEMPTED: State.PREEMPTED,
            Cause.STOP_FILE: State.INTERRUPTED,
            Cause.INTERRUPT: State.INTERRUPTED,
            Cause.TERMINATED: State.INTERRUPTED,
        }
        if self.stopped and self.cause is Cause.TIME_LIMIT:
            return State.INTERRUPTED
        return special.get(self.cause, State.FAILED)

    def final_status(self, run_status: Status) -> Status:
        """The final status of a run that stood at `run_status`."""
        return run_status.moved(state=self.state, cause=self.cause, reason=self.reason, note="")


BY_USER = Ending(Cause.CANCELLED, "cancelled by the user")
BY_SCANCEL = Ending(Cause.CANCELLED, "cancelled by scancel")


def of_stop(outcome: Ending, cancelled: bool) -> Ending:
    """The ending of a run outside SLURM that stopped; `cancelled` is whether `tunefleet cancel` had asked for it."""
    return BY_USER if cancelled else replace(outcome, stopped=True)


def of_attempt(run_status: Status, failed: Sequence[Failure], code: int, job_state: str, cancelled: bool) -> Ending:
    """The ending of an attempt whose ranks are gone: from their files, srun's exit code, SLURM's state of the job."""
    if run_status.state.ended_well:
        return Ending(run_status.cause, run_status.reason)
    first = failures.first(failed)
    if first and first.cause is not Cause.LOST_PEER:
        return Ending(first.cause, f"rank {first.rank} failed: {first.message}")
    if cancelled or job_state == "CANCELLED":
        return BY_USER if cancelled else BY_SCANCEL
    if run_status.state is State.CHECKPOINTING and run_status.cause in _SAVED:
        return _saved(run_status)
    return of_job(job_state) or _killed(code)


def of_job(job_state: str, reason: str = "") -> Ending | None:
    """The ending of a job whose run wrote none, from SLURM's state; None where that is no ending."""
    cause = _BY_JOB.get(job_state)
    detail = f" ({reason})" if reason and reason != "None" else ""
    return Ending(cause, f"SLURM says {job_state}{detail}") if cause else None


def of_lost_job(job: str, job_state: str = "", reason: str = "") -> Ending:
    """The ending of a job that is gone, by SLURM's state where it has one."""
    outcome = of_job(job_state, reason)
    if outcome:
        return outcome
    detail = f" ({reason})" if reason and reason != "None" else ""
    return Ending(
        Cause.KILLED,
        f"job {job} is gone{f': SLURM says {job_state}{detail}' if job_state else ''}{_HINTS.get(reason, '')}",
    )


def _saved(run_status: Status) -> Ending:
    """All ranks saved together and left: on a signal of SLURM's, or at the request of the user or of the sweep."""
    if run_status.cause in (Cause.RUNG, Cause.PRUNED):
        return Ending(run_status.cause, run_status.reason)
    reasons = {
        Cause.TIME_LIMIT: "saved before the time limit",
        Cause.STOP_FILE: "asked to stop by the file stop",
        Cause.INTERRUPT: "interrupted",
        Cause.TERMINATED: "saved before the job was taken away",
    }
    cause = Cause.PREEMPTED if run_status.cause is Cause.TERMINATED else run_status.cause
    return Ending(cause, f"{reasons[run_status.cause]}, at step {run_status.saved_step}")


def _killed(code: int) -> Ending:
    if code in (138, 140):
        return Ending(Cause.TIME_LIMIT, "the time limit came before the first step")
    if code == 130:
        return Ending(Cause.INTERRUPT, "interrupted before it could save")
    if code in (129, 143):
        return Ending(Cause.PREEMPTED, "the job was taken away before it could save")
    killer = f"by {_SIGNALLED[code]}" if code in _SIGNALLED else f"(srun ended with {code})"
    hint = f" ({HINTS[signal.SIGABRT]})" if code - 128 == signal.SIGABRT else ""
    return Ending(Cause.KILLED, f"a process was killed {killer}{hint}")
