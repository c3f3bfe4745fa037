"""SLURM's commands: asks squeue, scontrol and sacct about our jobs, and waits for no answer for long."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tunefleet.base.errors import TunefleetError

PATIENCE = 10.0  # seconds for one answer
_NEEDED = ("SLURM_CONF", "SLURM_JWT")  # of SLURM's variables, those that hold where it is and who we are
_OF_SLURM = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT", "SCANCEL_", "SCONTROL_", "SINFO_")
_OF_RANKS = ("PMI_", "PMIX_", "OMPI_", "TUNEFLEET_")
_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_DEVICES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
_DEFAULT_ARRAY = 1001  # SLURM's own MaxArraySize
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
_GOING = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "RESIZING", "SIGNALING", "STOPPED")


class QueueError(TunefleetError):
    """SLURM did not do what it was asked for; the message is its own."""


@dataclass(frozen=True)
class Entry:
    """A job as SLURM sees it: `state` as it calls it, `reason` why it waits or ended, `comment` ours."""

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
    squeue = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%r|%k"]
    try:
        lines = command(*squeue).splitlines()
    except QueueError:
        return None
    entries = [Entry(*(part.strip() for part in line.split("|", 3))) for line in lines if line.count("|") >= 3]
    return {entry.job: entry for entry in entries}


def records() -> dict[str, Entry]:
    """What the accounting kept of my jobs of the last month; empty where there is none."""
    fields = "--format=JobID,State,Reason"
    try:
        output = command("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-30days", fields)
    except QueueError:
        return {}
    rows = [line.split("|", 2) for line in output.splitlines() if line.count("|") >= 2]
    return {job: Entry(job, state.split()[0], reason) for job, state, reason in rows if state.strip()}


def state_of(job: str, restarts: int) -> str:
    """The state of one job that has started again `restarts` times, as SLURM calls it; empty where it does not answer.

    While processes of a job end, SLURM says COMPLETING and not what ends them: REQUEUED is a job that is in the queue
    again already; TIMEOUT, PREEMPTED and CANCELLED are what it will say later.
    """
    try:
        output = command("scontrol", "show", "job", job, "--oneliner")
    except QueueError:
        return ""
    fields = _fields(output)
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
    command("scontrol", "requeue", job)


def cancel(jobs: Sequence[str]) -> None:
    """Ends jobs: each process is asked to save first. Raises `QueueError`."""
    if jobs:
        command("scancel", *jobs)


def largest_array() -> int:
    """Tasks that one array may have here."""
    try:
        size = re.search(r"^MaxArraySize\s*=\s*(\d+)", command("scontrol", "show", "config"), re.MULTILINE)
    except QueueError:
        size = None
    return max(1, int(size[1])) if size else _DEFAULT_ARRAY


def record(job: str) -> Entry | None:
    """What SLURM's controller holds of one job; None where it knows no such job. Raises `QueueError` for no answer."""
    try:
        text = command("scontrol", "show", "job", job, "--oneliner")
    except QueueError as error:
        if "Invalid job id" in str(error):
            return None
        raise
    fields = _fields(text)
    if "JobState" not in fields:
        raise QueueError("scontrol: names no state.")
    return Entry(job, fields["JobState"], fields.get("Reason", ""), fields.get("Comment", ""))


def numbered(comment: str) -> str | None:
    """The number of my job, or of the array, with this comment: from squeue, or from the controller itself.

    Raises `QueueError` where neither answers.
    """
    job = next((entry.job for entry in (jobs() or {}).values() if entry.comment == comment), None)
    return job.split("_")[0] if job else _of_controller(comment)


def _of_controller(comment: str) -> str | None:
    lines = command("scontrol", "show", "job", "--oneliner").splitlines()
    fields = next((fields for line in lines if (fields := _fields(line)).get("Comment") == comment), {})
    return fields.get("ArrayJobId", fields.get("JobId"))


def _fields(line: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in line.split() if "=" in pair)


def clean_environment() -> dict[str, str]:
    """The shell's environment without what a surrounding job put there, and without what SLURM's commands would read.

    A partition in SQUEUE_PARTITION hides jobs, one in SBATCH_PARTITION is another than the plan's.
    """
    foreign = (*_OF_SLURM, *_OF_RANKS)
    return {k: v for k, v in os.environ.items() if k in _NEEDED or not (k.startswith(foreign) or k in _RANKS)}


def submission_environment() -> dict[str, str]:
    """What a job finds: the same, without which GPUs and threads this shell has. The job's own are others."""
    return {k: v for k, v in clean_environment().items() if k not in (*_DEVICES, "OMP_NUM_THREADS")}


def ignored_variables() -> list[str]:
    """Variables of the shell that are meant for sbatch, and which the plan overrules."""
    return sorted(name for name in os.environ if name.startswith("SBATCH_") or name == "SLURM_CLUSTERS")


def command(*arguments: str) -> str:
    """What a command of SLURM prints. Raises `QueueError` where it fails, is missing, or does not answer."""
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, errors="replace", timeout=PATIENCE, env=clean_environment()
        )
    except FileNotFoundError:
        raise QueueError(f"{arguments[0]} is not on this machine: this is no machine of a SLURM cluster.") from None
    except OSError as error:
        raise QueueError(f"{arguments[0]}: {error.strerror}.") from None
    except subprocess.TimeoutExpired:
        raise QueueError(f"{arguments[0]}: SLURM did not answer in {PATIENCE:g} s.") from None
    if done.returncode:
        raise QueueError(f"{arguments[0]}: {' '.join(done.stderr.split()) or f'ended with {done.returncode}'}")
    return done.stdout
