"""State of a run now: its own files first, then SLURM's queue, then SLURM's accounting.

A run whose processes are gone without a final state gets its one here.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from tunefleet.base import owner_lock, processes, status
from tunefleet.base.owner import Owner
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.base.units import clock
from tunefleet.launch import ending, queue, submission
from tunefleet.launch.ending import Ending
from tunefleet.launch.queue import Entry, QueueError
from tunefleet.launch.submission import Place

SILENCE = 45.0  # seconds without a heartbeat, which comes every ten
_NEVER = "never submitted: the submitter ended before SLURM had the job. Submit again: tunefleet resume"


class StatusReader:
    """Looks at runs; asks SLURM once for all of them, and only if one of them was submitted.

    Where it does not settle, a run whose processes are gone has its final state in what is returned alone.
    """

    def __init__(self, settles: bool = True) -> None:
        self._settles = settles
        self._queue: Mapping[str, Entry] | None = None
        self._queried = False
        self._records: Mapping[str, Entry] | None = None
        self._read = functools.cache(submission.read)  # the points of an array share one

    @property
    def slurm_is_silent(self) -> bool:
        """Whether SLURM was asked and did not answer."""
        return self._queried and self._queue is None

    def status(self, run: RunPaths) -> Status | None:
        """Where the run stands now; None for a run that never began."""
        return self.checked(run, status.read(run.status))

    def checked(self, run: RunPaths, run_status: Status | None) -> Status | None:
        """Where a run stands now whose status file holds `run_status`."""
        if run_status is None or run_status.state.final:
            return run_status
        place = submission.place(run, self._read)
        return self._in_queue(run, run_status, place) if place else self._local_run(run, run_status)

    def job(self, run: RunPaths) -> tuple[Place | None, Entry | None]:
        """Where the run was submitted last, and what SLURM's queue holds of it, whatever the run's own files hold."""
        place = submission.place(run, self._read)
        jobs = self._jobs() if place else None
        job = place.find(jobs) if place and jobs is not None else None
        return place, entry_of(jobs, job) if jobs is not None and job else None

    def _in_queue(self, run: RunPaths, run_status: Status, place: Place) -> Status:
        jobs = self._jobs()
        if jobs is None:
            return (
                run_status
                if run_status.state.alive and not _is_silent(run, run_status)
                else run_status.noted("SLURM does not answer")
            )
        job = place.find(jobs)
        if job is None:
            return self._never(run, run_status, place)
        entry = entry_of(jobs, job)
        if entry is None and time.time() - run_status.updated < SILENCE:
            return run_status  # accepted a moment ago
        if entry is None or not (entry.waiting or entry.going):
            return self._left_queue(run, run_status, place, job, entry)
        return _as_queued(run, run_status, entry)

    def _never(self, run: RunPaths, run_status: Status, place: Place) -> Status:
        """squeue has no job with the submission's comment; neither has the controller, or the run is queued."""
        if place.submission.open:
            return run_status.noted("being submitted")
        try:
            queued = queue.numbered(place.submission.key)
        except QueueError:
            return run_status.noted("SLURM does not answer")
        if queued:
            return run_status
        return self._settle(run, run_status, Ending(Cause.KILLED, f"{_NEVER} {run.root.name}"))

    def _left_queue(self, run: RunPaths, run_status: Status, place: Place, job: str, entry: Entry | None) -> Status:
        """The job has left the queue and the run has no final state: its last line was never reached.

        One source that does not list it is no proof. The controller is asked for this job, then the accounting.
        """
        certain = True
        if entry is None:
            entry, certain = self._second_source(job)
        if not certain:
            return run_status.noted(f"squeue does not list job {job}, and SLURM does not say what became of it")
        if entry and (entry.waiting or entry.going):
            return _as_queued(run, run_status, entry)
        if place.refusal:
            return self._settle(run, run_status, Ending(Cause.USER_ERROR, f"{place.refusal} {run.root.name}"))
        return self._settle(
            run, run_status, ending.of_lost_job(job, entry.state if entry else "", entry.reason if entry else "")
        )

    def _second_source(self, job: str) -> tuple[Entry | None, bool]:
        """A job that squeue does not list, as the controller or the accounting knows it; and whether that is certain.

        A record of a running job that the controller has forgotten is an old one.
        """
        try:
            entry, answers = queue.record(job), True
        except QueueError:
            entry, answers = None, False
        if entry:
            return entry, True
        recorded = self._recorded(job)
        if recorded and (recorded.waiting or recorded.going):
            return (None, True) if answers else (recorded, True)
        return recorded, answers or recorded is not None

    def _recorded(self, job: str) -> Entry | None:
        if self._records is None:
            self._records = queue.records()
        return self._records.get(job)

    def _jobs(self) -> Mapping[str, Entry] | None:
        if not self._queried:
            self._queried, self._queue = True, queue.jobs()
        return self._queue

    def _local_run(self, run: RunPaths, run_status: Status) -> Status:
        """A run outside SLURM: its processes are here, or give no sign of life from elsewhere.

        While its launcher or a rank lives, that writes the final state: it knows why the others are gone.
        """
        same_machine = run_status.host == socket.gethostname()
        living = owner_lock.living_here(run.lock)
        if living or (same_machine and _is_its_process(run_status)):
            return _as_heard(run, run_status, living)
        if not (same_machine and not processes.is_alive(run_status.pid)) and not _is_silent(run, run_status):
            return run_status
        last = clock(min(status.seconds_since_heartbeat(run.heartbeat), run_status.age))
        reason = f"all its processes are gone; last sign of life on {run_status.host} {last} ago"
        return self._settle(run, run_status, Ending(Cause.KILLED, reason))

    def _settle(self, run: RunPaths, read_status: Status, outcome: Ending) -> Status:
        """The final state, where the run wrote none; an update since `read_status` goes before it."""
        latest = status.read(run.status) or read_status
        if (latest.state, latest.updated) != (read_status.state, read_status.updated):
            return latest
        if run.cancelled.exists():
            outcome = ending.BY_USER
        settled = outcome.final_status(read_status)
        if self._settles:
            with suppress(OSError):  # of a disk that fails, or of somebody else's run: it is shown all the same
                status.write(run.status, settled)
        return settled


def _as_queued(run: RunPaths, run_status: Status, entry: Entry) -> Status:
    return _waiting(run_status, entry) if entry.waiting else _going(run, run_status, entry)


def _waiting(run_status: Status, entry: Entry) -> Status:
    state = State.REQUEUED if run_status.restarts or run_status.job else State.QUEUED
    return run_status.noted(
        f"{run_status.reason}; waits: {entry.reason}" if run_status.reason else f"waits: {entry.reason}", state
    )


def _going(run: RunPaths, run_status: Status, entry: Entry) -> Status:
    """A job that has machines; one whose rank 0 is silent may hang, or SLURM has suspended it."""
    if not run_status.state.alive or not _is_silent(run, run_status):
        return run_status
    last = clock(min(status.seconds_since_heartbeat(run.heartbeat), run_status.age))
    return run_status.noted(f"no sign of life for {last}; SLURM says {entry.state}")


def _as_heard(run: RunPaths, run_status: Status, living: Sequence[Owner]) -> Status:
    """A run whose processes live; where none of them has given a sign for long, they are stopped, or cannot go on.

    What its own watch has written says more.
    """
    if not run_status.state.alive or run_status.state is State.STALLED or not _is_silent(run, run_status):
        return run_status
    last = clock(min(status.seconds_since_heartbeat(run.heartbeat), run_status.age))
    names = "".join(f"; {process.describe()}" for process in living[:3])
    return run_status.noted(f"no sign of life for {last}{names}", State.STALLED)


def entry_of(jobs: Mapping[str, Entry], job: str) -> Entry | None:
    """What the queue holds of a job, by itself or as one of an array's line."""
    return jobs.get(job) or _of_array(jobs, job)


def _of_array(jobs: Mapping[str, Entry], job: str) -> Entry | None:
    """The entry of a waiting array, which SLURM shows as one line: 12_[3-9,12%2]."""
    array, _, index = job.partition("_")
    lines = [(name, entry) for name, entry in jobs.items() if index and name.startswith(f"{array}_[")]
    return next((entry for name, entry in lines if _names(name.split("[")[1], int(index))), None)


def _names(indices: str, index: int) -> bool:
    """Whether `3-9:2,12%2]` names the index; where SLURM shortened it by ..., it may."""
    for part in indices.rstrip("]").split("%")[0].split(","):
        first, _, end = part.partition("-")
        last, _, step = end.partition(":")
        if "..." in part or index in range(int(first), int(last or first) + 1, int(step or 1)):
            return True
    return False


def _is_its_process(run_status: Status) -> bool:
    """Whether the process that wrote the status is still there, and no other one that was given its number."""
    born = processes.born_at(run_status.pid)
    return born is not None and born <= run_status.updated


def _is_silent(run: RunPaths, run_status: Status) -> bool:
    pulses = run.hang.parent.glob("rank*.pulse.json")
    ages = [status.seconds_since_heartbeat(path) for path in (run.heartbeat, *pulses)]
    return min(*ages, run_status.age) > SILENCE
