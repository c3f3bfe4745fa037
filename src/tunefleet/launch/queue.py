"""What does SLURM know about our jobs? Asks it, briefly, and never waits for an answer that does not come."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tunefleet.base.errors import TunefleetError

_PATIENCE = 10.0  # seconds for one answer
_LEAKS = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")  # of SLURM's variables, all that is not one job's
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_GOING = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "RESIZING", "SIGNALING", "STOPPED")


class QueueError(TunefleetError):
    """SLURM did not do what it was asked for; the message is its own."""


@dataclass(frozen=True)
class Entry:
    """A job as SLURM sees it: `state` in its own words, `reason` why it waits or ended, `comment` ours."""

    job: str
    state: str
    reason: str = ""
    comment: str = ""

    @property
    def waiting(self) -> bool:
        """Whether it has yet to start."""
        return self.state in _WAITING

    @property
    def going(self) -> bool:
        """Whether it has machines now."""
        return self.state in _GOING

    @property
    def active(self) -> bool:
        """Whether it waits or has machines: a job that is yet to end."""
        return self.waiting or (self.going and self.state != "COMPLETING")


def jobs() -> dict[str, Entry] | None:
    """My jobs, those that ended minutes ago too; None where SLURM does not answer or is not there."""
    words = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%r|%k"]
    try:
        lines = ask(*words).splitlines()
    except QueueError:
        return None
    entries = [Entry(*(part.strip() for part in line.split("|", 3))) for line in lines if line.count("|") >= 3]
    return {entry.job: entry for entry in entries}


def records() -> dict[str, Entry]:
    """What the accounting kept of my jobs of the last month; empty where there is none."""
    fields = "--format=JobID,State,Reason"
    try:
        said = ask("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-30days", fields)
    except QueueError:
        return {}
    rows = [line.split("|", 2) for line in said.splitlines() if line.count("|") >= 2]
    return {job: Entry(job, state.split()[0], reason) for job, state, reason in rows if state.strip()}


def state_of(job: str, restarts: int) -> str:
    """The state of one job that has started again `restarts` times, in SLURM's words; empty where it does not say.

    While processes of a job end, SLURM says COMPLETING and not what ends them: REQUEUED is a job that is in the queue
    again already; TIMEOUT, PREEMPTED and CANCELLED are what it will say later.
    """
    try:
        said = ask("scontrol", "show", "job", job, "--oneliner")
    except QueueError:
        return ""
    fields = dict(word.split("=", 1) for word in said.split() if "=" in word)
    state = fields.get("JobState", "")
    return _ended_by(fields, restarts) if state == "COMPLETING" else state


def _ended_by(fields: Mapping[str, str], restarts: int) -> str:
    if int(fields["Restarts"]) > restarts:
        return "REQUEUED"
    if fields.get("PreemptTime", "None") != "None":
        return "PREEMPTED"
    return "TIMEOUT" if _seconds(fields["RunTime"]) >= _seconds(fields["TimeLimit"]) else "CANCELLED"


def _seconds(clock: str) -> float:
    """1-02:03:04, as SLURM writes it, in seconds; UNLIMITED is infinite."""
    days, _, time = clock.rpartition("-")
    parts = [int(part) for part in time.split(":") if part.isdigit()]
    return (int(days or 0) * 24 * 60 + parts[0] * 60 + parts[1]) * 60 + parts[2] if len(parts) == 3 else inf


def requeue(job: str) -> None:
    """Sends a job that runs back into the queue. Raises `QueueError`."""
    ask("scontrol", "requeue", job)


def cancel(jobs: Sequence[str]) -> None:
    """Ends jobs: each process is asked to save first. Raises `QueueError`."""
    if jobs:
        ask("scancel", *jobs)


def clean_environment() -> dict[str, str]:
    """The person's environment without what a surrounding job put there (CPU binding, memory, ranks)."""
    ranks = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    own = ("SLURM_", "SLURMD_", "SRUN_", "PMI_", "PMIX_", "OMPI_", "TUNEFLEET_")
    return {k: v for k, v in os.environ.items() if k in _LEAKS or not (k.startswith(own) or k in ranks)}


def ask(*words: str) -> str:
    """What a command of SLURM prints. Raises `QueueError` where it fails, is missing, or does not answer."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, env=clean_environment()
        )
    except FileNotFoundError:
        raise QueueError(f"{words[0]} is not on this machine: this is no machine of a SLURM cluster.") from None
    except OSError as error:
        raise QueueError(f"{words[0]}: {error.strerror}.") from None
    except subprocess.TimeoutExpired:
        raise QueueError(f"{words[0]}: SLURM did not answer in {_PATIENCE:g} s.") from None
    if done.returncode:
        raise QueueError(f"{words[0]}: {' '.join(done.stderr.split()) or f'ended with {done.returncode}'}")
    return done.stdout
