"""How did an attempt end, and what follows: the one final state, or another place in the queue?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunefleet.base import failures
from tunefleet.base.failures import Failure
from tunefleet.base.status import Cause, State, Status

_SAVED = (Cause.TIME_LIMIT, Cause.TERMINATED, Cause.INTERRUPT, Cause.STOP_FILE)
_SIGNALLED = {137: "SIGKILL", 143: "SIGTERM", 139: "SIGSEGV", 134: "SIGABRT", 140: "SIGUSR2"}
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
    """Why an attempt ended, for people."""

    cause: Cause
    reason: str

    @property
    def state(self) -> State:
        """The final state, where the run does not start again."""
        special = {
            Cause.NONE: State.FINISHED,
            Cause.CANCELLED: State.CANCELLED,
            Cause.PREEMPTED: State.PREEMPTED,
            Cause.STOP_FILE: State.INTERRUPTED,
            Cause.INTERRUPT: State.INTERRUPTED,
            Cause.TERMINATED: State.INTERRUPTED,
        }
        return special.get(self.cause, State.FAILED)

    def of(self, now: Status) -> Status:
        """The final status of a run that stood at `now`."""
        return now.moved(state=self.state, cause=self.cause, reason=self.reason)


BY_A_PERSON = Ending(Cause.CANCELLED, "cancelled by a person")
BY_SCANCEL = Ending(Cause.CANCELLED, "cancelled by scancel")


def of_attempt(now: Status, failed: Sequence[Failure], code: int, job_state: str, cancelled: bool) -> Ending:
    """The ending of an attempt whose ranks are gone: from their files, srun's exit code, SLURM's word for the job."""
    if now.state is State.FINISHED:
        return Ending(Cause.NONE, "")
    first = failures.first(failed)
    if first and first.cause is not Cause.LOST_PEER:
        return Ending(first.cause, f"rank {first.rank} failed: {first.message}")
    if cancelled or job_state == "CANCELLED":
        return BY_A_PERSON if cancelled else BY_SCANCEL
    if now.state is State.CHECKPOINTING and now.cause in _SAVED:
        return _saved(now)
    return of_job(job_state) or _killed(code)


def of_job(job_state: str, reason: str = "") -> Ending | None:
    """The ending of a job that left no word of its own, from SLURM's; None where that says nothing."""
    cause = _BY_JOB.get(job_state)
    said = f" ({reason})" if reason and reason != "None" else ""
    return Ending(cause, f"SLURM says {job_state}{said}") if cause else None


def of_lost_job(job: str, job_state: str = "", reason: str = "") -> Ending:
    """The ending of a job that is gone, in SLURM's words where it has some."""
    told = of_job(job_state, reason)
    if told:
        return told
    why = f" ({reason})" if reason and reason != "None" else ""
    return Ending(
        Cause.KILLED,
        f"job {job} is gone{f': SLURM says {job_state}{why}' if job_state else ''}{_HINTS.get(reason, '')}",
    )


def _saved(now: Status) -> Ending:
    """All ranks saved together and left: on a signal of SLURM's, or a person's wish."""
    reasons = {
        Cause.TIME_LIMIT: "saved before the time limit",
        Cause.STOP_FILE: "asked to stop by the file stop",
        Cause.INTERRUPT: "interrupted",
        Cause.TERMINATED: "saved before the job was taken away",
    }
    cause = Cause.PREEMPTED if now.cause is Cause.TERMINATED else now.cause
    return Ending(cause, f"{reasons[now.cause]}, at step {now.saved_step}")


def _killed(code: int) -> Ending:
    if code == 140:
        return Ending(Cause.TIME_LIMIT, "the time limit came before the first step")
    if code == 143:
        return Ending(Cause.PREEMPTED, "the job was taken away before it could save")
    how = f"by {_SIGNALLED[code]}" if code in _SIGNALLED else f"(srun ended with {code})"
    return Ending(Cause.KILLED, f"a process was killed {how}")
