"""Where does a run stand, really? Its own files first, then SLURM's queue, then SLURM's accounting.

A run whose processes are gone without a last word gets its one final state here.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Mapping

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.base.units import clock
from tunefleet.launch import ending, queue, submission
from tunefleet.launch.ending import Ending
from tunefleet.launch.queue import Entry, QueueError
from tunefleet.launch.submission import Place

_SILENCE = 45.0  # seconds without a heartbeat, which comes every ten
_NEVER = "submitted by nobody: the submitter ended before SLURM had the job. Submit again: tunefleet resume"


class Observer:
    """Looks at runs; asks SLURM once for all of them, and only if one of them was submitted."""

    def __init__(self) -> None:
        self._queue: Mapping[str, Entry] | None = None
        self._asked = False
        self._records: Mapping[str, Entry] | None = None
        self._read = functools.cache(submission.read)  # the points of an array share one

    @property
    def silent(self) -> bool:
        """Whether SLURM was asked and did not answer."""
        return self._asked and self._queue is None

    def status(self, run: RunPaths) -> Status | None:
        """Where the run stands now; None for a run that never began."""
        now = status.read(run.status)
        if now is None or now.state.final:
            return now
        place = submission.place(run, self._read)
        return self._in_queue(run, now, place) if place else _here(run, now)

    def job(self, run: RunPaths) -> tuple[Place | None, Entry | None]:
        """Where the run was submitted last, and what SLURM's queue holds of it, whatever the run's own files say."""
        place = submission.place(run, self._read)
        jobs = self._jobs() if place else None
        job = place.find(jobs) if place and jobs is not None else None
        return place, entry_of(jobs, job) if jobs is not None and job else None

    def _in_queue(self, run: RunPaths, now: Status, place: Place) -> Status:
        jobs = self._jobs()
        if jobs is None:
            return now if now.state.alive and not _silent(run, now) else now.noted("SLURM does not answer")
        job = place.find(jobs)
        if job is None:
            return self._never(run, now, place)
        entry = entry_of(jobs, job)
        if entry is None and time.time() - now.updated < _SILENCE:
            return now  # accepted a moment ago
        if entry is None or not (entry.waiting or entry.going):
            return self._gone(run, now, place, job, entry)
        return _as_queued(run, now, entry)

    def _never(self, run: RunPaths, now: Status, place: Place) -> Status:
        """squeue has no job with the submission's comment; neither has the controller, or the run is queued."""
        if place.submission.open:
            return now.noted("being submitted")
        try:
            queued = queue.numbered(place.submission.key)
        except QueueError:
            return now.noted("SLURM does not answer")
        if queued:
            return now
        return _settle(run, now, Ending(Cause.KILLED, f"{_NEVER} {run.root.name}"))

    def _gone(self, run: RunPaths, now: Status, place: Place, job: str, entry: Entry | None) -> Status:
        """The job has left the queue and the run has no final state: its last line was never reached.

        One source that does not list it is no proof. The controller is asked for this job, then the accounting.
        """
        certain = True
        if entry is None:
            entry, certain = self._second_source(job)
        if not certain:
            return now.noted(f"squeue does not list job {job}, and SLURM does not say what became of it")
        if entry and (entry.waiting or entry.going):
            return _as_queued(run, now, entry)
        if place.refusal:
            return _settle(run, now, Ending(Cause.USER_ERROR, f"{place.refusal} {run.root.name}"))
        return _settle(run, now, ending.of_lost_job(job, entry.state if entry else "", entry.reason if entry else ""))

    def _second_source(self, job: str) -> tuple[Entry | None, bool]:
        """A job that squeue does not list, as the controller or the accounting knows it; and whether that is certain.

        A record of a running job that the controller has forgotten is an old one.
        """
        try:
            held, answers = queue.record(job), True
        except QueueError:
            held, answers = None, False
        if held:
            return held, True
        kept = self._recorded(job)
        if kept and (kept.waiting or kept.going):
            return (None, True) if answers else (kept, True)
        return kept, answers or kept is not None

    def _recorded(self, job: str) -> Entry | None:
        if self._records is None:
            self._records = queue.records()
        return self._records.get(job)

    def _jobs(self) -> Mapping[str, Entry] | None:
        if not self._asked:
            self._asked, self._queue = True, queue.jobs()
        return self._queue


def _as_queued(run: RunPaths, now: Status, entry: Entry) -> Status:
    return _waiting(now, entry) if entry.waiting else _going(run, now, entry)


def _waiting(now: Status, entry: Entry) -> Status:
    state = State.REQUEUED if now.restarts or now.job else State.QUEUED
    return now.noted(f"{now.reason}; waits: {entry.reason}" if now.reason else f"waits: {entry.reason}", state)


def _going(run: RunPaths, now: Status, entry: Entry) -> Status:
    """A job that has machines; one whose rank 0 is silent may hang, or SLURM has suspended it."""
    if not now.state.alive or not _silent(run, now):
        return now
    last = clock(min(status.silence(run.heartbeat), now.age))
    return now.noted(f"no sign of life for {last}; SLURM says {entry.state}")


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
        first, _, rest = part.partition("-")
        last, _, step = rest.partition(":")
        if "..." in part or index in range(int(first), int(last or first) + 1, int(step or 1)):
            return True
    return False


def _here(run: RunPaths, now: Status) -> Status:
    """A run outside SLURM: its processes are here, or give no sign of life from elsewhere."""
    same_machine = now.host == socket.gethostname()
    if not (same_machine and not status.lives(now.pid)) and not _silent(run, now):
        return now
    last = clock(min(status.silence(run.heartbeat), now.age))
    gone = f"all its processes are gone; last sign of life on {now.host} {last} ago"
    return _settle(run, now, Ending(Cause.KILLED, gone))


def _silent(run: RunPaths, now: Status) -> bool:
    return min(status.silence(run.heartbeat), now.age) > _SILENCE


def _settle(run: RunPaths, seen: Status, found: Ending) -> Status:
    """The final state that nobody wrote; a word that was written since `seen` goes before it."""
    latest = status.read(run.status) or seen
    if (latest.state, latest.updated) != (seen.state, seen.updated):
        return latest
    if run.cancelled.exists():
        found = ending.BY_A_PERSON
    settled = found.of(seen)
    status.write(run.status, settled)
    return settled
