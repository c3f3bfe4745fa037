"""Ends runs for good: `tunefleet cancel`. First the act, then the state, and what is printed last."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from tunefleet.base import status
from tunefleet.base.errors import DONE, FAILED
from tunefleet.base.status import State, Status
from tunefleet.launch import ending, queue
from tunefleet.launch.queue import QueueError
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader, entry_of

_CHUNK = 100  # jobs for one call of scancel


@dataclass
class _Request:
    """The wish that one run ends; `job` is its number in the queue, `message` what became of it."""

    run: Run
    before: Status | None
    job: str | None = None
    message: str = ""
    failed: bool = False
    _marks: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether its processes should be there."""
        return self.before is not None and self.before.state.alive

    def mark(self, *, stop: bool) -> None:
        """Tells the run's own processes, and those of its job that are yet to start."""
        for path in (self.run.paths.cancelled, self.run.paths.stop)[: 2 if stop else 1]:
            if not path.exists():
                path.touch()
                self._marks.append(path.name)

    def fail(self, why: object) -> None:
        """Takes back what was marked: the run goes on, and nothing must say that it was cancelled."""
        for name in self._marks:
            (self.run.paths.root / name).unlink(missing_ok=True)
        self.failed, self.message = True, f"not cancelled: {why} Try again: tunefleet cancel {self.run.name}"

    def settle(self) -> None:
        """The final state of a job that waited; where it has started meanwhile, its own processes write it."""
        now = status.read(self.run.paths.status)
        if now and not now.state.final and not now.state.alive:
            status.write(self.run.paths.status, ending.BY_USER.final_status(now))


def cancel(runs: Sequence[Run], now: bool) -> int:
    """Ends runs: those that train save first, unless `now`; a run that waits leaves the queue. Returns the exit code.

    A run is cancelled as long as a job of it is in the queue, whatever its files say. Where SLURM refuses, the run
    stays as it was, and the same command tries again.
    """
    reader = StatusReader()
    requests = [_request(run, reader) for run in runs]
    jobs = [request for request in requests if request.job]
    asked = [request for request in jobs if request.alive and not now]
    taken = [request for request in jobs if request not in asked]
    for how, group in (("--signal=TERM", asked), ("--quiet", taken)):
        for first in range(0, len(group), _CHUNK):
            _cancel_jobs(group[first : first + _CHUNK], how)
    for request in requests:
        if not request.message:
            _cancel_here(request, now)
    print("\n".join(f"{request.run.name}: {request.message}" for request in requests))
    return FAILED if any(request.failed for request in requests) else DONE


def _request(run: Run, reader: StatusReader) -> _Request:
    """What is to be done about a run; there is a message where that is nothing."""
    before = reader.status(run.paths)
    place, entry = reader.job(run.paths)
    over = before is None or before.state.final
    if place and place.job and (not over or (entry and entry.active) or _unsure(before, reader)):
        return _Request(run, before, place.job)
    if before is None:
        return _before_its_turn(_Request(run, before))
    if over:
        return _Request(run, before, message=f"nothing to cancel, it is {before.state.value}")
    if place:
        return _job_without_number(_Request(run, before))
    return _Request(run, before)


def _unsure(before: Status | None, reader: StatusReader) -> bool:
    """Whether a run that was cancelled may still have its job: SLURM does not answer."""
    return reader.slurm_is_silent and before is not None and before.state is State.CANCELLED


def _before_its_turn(request: _Request) -> _Request:
    """A point of a grid under way here has its plan, and no state yet."""
    request.mark(stop=False)
    request.message = "never started; a grid that is under way leaves it out"
    return request


def _job_without_number(request: _Request) -> _Request:
    request.mark(stop=False)
    request.message = "its job has no number yet; it will not start"
    return request


def _cancel_jobs(requests: Sequence[_Request], how: str) -> None:
    for request in requests:
        request.mark(stop=request.alive)  # a signal would not reach ranks that srun has not started yet
    refusal: QueueError | None = None
    try:
        queue.command("scancel", how, *(str(request.job) for request in requests))
    except QueueError as error:  # for one of them, or for all
        refusal = error
    left = queue.jobs() if refusal else {}
    for request in requests:
        entry = entry_of(left, str(request.job)) if left is not None else None
        if refusal and (left is None or (entry and entry.active)):
            request.fail(refusal)
        else:
            request.settle()
            request.message = f"job {request.job} {'ends' if request.alive else 'is cancelled'}"


def _cancel_here(request: _Request, now: bool) -> None:
    """Asks the process that started the run."""
    assert request.before, "a run that never started has its message already"
    here = request.before.host == socket.gethostname()
    request.mark(stop=not here)
    request.message = "is killed" if now else "saves, then ends"
    if not here:
        request.message = f"runs on {request.before.host}: it saves and stops at its next step"
        return
    try:
        if request.before.pid <= 0:  # would mean a group of processes, our own among them
            raise ProcessLookupError
        os.kill(request.before.pid, signal.SIGKILL if now else signal.SIGTERM)
    except ProcessLookupError:
        request.message = "has just ended"
    except PermissionError:
        request.fail(f"process {request.before.pid} is another user's.")
