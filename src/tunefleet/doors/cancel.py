"""`tunefleet cancel`: ends runs for good. First the act, then the state, and what is printed last."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tunefleet.base import files, owner_lock, status
from tunefleet.base.errors import DONE, FAILED
from tunefleet.base.status import State, Status
from tunefleet.launch import ending, queue
from tunefleet.launch.queue import QueueError
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader, entry_of

_CHUNK = 100  # jobs for one call of scancel


@dataclass
class _Request:
    """The request that one run ends; `job` is its number in the queue, `message` what became of it."""

    run: Run
    last_status: Status | None
    job: str | None = None
    message: str = ""
    failed: bool = False
    _marks: list[str] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether its processes should be there."""
        return self.last_status is not None and self.last_status.state.alive

    def mark(self, *, stop: bool) -> None:
        """Tells the run's own processes, and those of its job that are yet to start."""
        for path in (self.run.paths.cancelled, self.run.paths.stop)[: 2 if stop else 1]:
            if not path.exists():
                files.touch(path)
                self._marks.append(path.name)

    def fail(self, reason: object) -> None:
        """Takes back what was marked: the run keeps running, and no file may hold that it was cancelled."""
        for name in self._marks:
            (self.run.paths.root / name).unlink(missing_ok=True)
        self.failed, self.message = True, f"not cancelled: {reason} Try again: tunefleet cancel {self.run.name}"

    def settle(self) -> None:
        """The final state of a job that waited; where it has started meanwhile, its own processes write it."""
        run_status = status.read(self.run.paths.status)
        if run_status and not run_status.state.final and not run_status.state.alive:
            status.write(self.run.paths.status, ending.BY_USER.final_status(run_status))


def cancel(runs: Sequence[Run], at_once: bool) -> int:
    """Ends runs: those that train save first, unless `at_once`; one that waits leaves the queue. Returns the exit code.

    A run is cancelled as long as a job of it is in the queue, whatever its files say. Where SLURM refuses, the run
    stays as it was, and the same command tries again.
    """
    reader = StatusReader()
    requests = [_request(run, reader) for run in runs]
    jobs = [request for request in requests if request.job]
    signalled = [request for request in jobs if request.alive and not at_once]
    cancelled = [request for request in jobs if request not in signalled]
    for option, group in (("--signal=TERM", signalled), ("--quiet", cancelled)):
        for first in range(0, len(group), _CHUNK):
            _cancel_jobs(group[first : first + _CHUNK], option)
    for request in requests:
        if not request.message:
            _cancel_here(request, at_once)
    print("\n".join(f"{request.run.name}: {request.message}" for request in requests))
    return FAILED if any(request.failed for request in requests) else DONE


def _request(run: Run, reader: StatusReader) -> _Request:
    """What is to be done about a run; there is a message where that is nothing."""
    last_status = reader.status(run.paths)
    place, entry = reader.job(run.paths)
    over = last_status is None or last_status.state.final
    if place and place.job and (not over or (entry and entry.active) or _unsure(last_status, reader)):
        return _Request(run, last_status, place.job)
    if last_status is None:
        return _before_its_turn(_Request(run, last_status))
    if over:
        return _Request(run, last_status, message=f"nothing to cancel, it is {last_status.state.value}")
    if place:
        return _job_without_number(_Request(run, last_status))
    return _Request(run, last_status)


def _unsure(last_status: Status | None, reader: StatusReader) -> bool:
    """Whether a run that was cancelled may still have its job: SLURM does not answer."""
    return reader.slurm_is_silent and last_status is not None and last_status.state is State.CANCELLED


def _before_its_turn(request: _Request) -> _Request:
    """A point of a running grid here has its plan, and no state yet."""
    request.mark(stop=False)
    request.message = "never started; a running grid leaves it out"
    return request


def _job_without_number(request: _Request) -> _Request:
    request.mark(stop=False)
    request.message = "its job has no number yet; it will not start"
    return request


def _cancel_jobs(requests: Sequence[_Request], option: str) -> None:
    for request in requests:
        request.mark(stop=request.alive)  # a signal would not reach ranks that srun has not started yet
    refusal: QueueError | None = None
    try:
        queue.command("scancel", option, *(str(request.job) for request in requests))
    except QueueError as error:  # for one of them, or for all
        refusal = error
    in_queue = queue.jobs() if refusal else {}
    for request in requests:
        entry = entry_of(in_queue, str(request.job)) if in_queue is not None else None
        if refusal and (in_queue is None or (entry and entry.active)):
            request.fail(refusal)
        else:
            request.settle()
            request.message = f"job {request.job} {'ends' if request.alive else 'is cancelled'}"


def _cancel_here(request: _Request, at_once: bool) -> None:
    """Asks the process that started the run; those of it that are stopped go on, or they would not end either."""
    assert request.last_status, "a run that never started has its message already"
    is_local = request.last_status.host == socket.gethostname()
    request.mark(stop=not is_local)
    request.message = "is killed" if at_once else "saves, then ends"
    if not is_local:
        request.message = f"runs on {request.last_status.host}: it saves and stops at its next step"
        return
    pid, *others = _processes(request.run, request.last_status) or [0]
    try:
        if pid <= 0:  # would mean a group of processes, our own among them
            raise ProcessLookupError
        os.kill(pid, signal.SIGKILL if at_once else signal.SIGTERM)
        _let_go_on([pid, *others])
    except ProcessLookupError:
        request.message = "has just ended"
    except PermissionError:
        request.fail(f"process {pid} is another user's.")


def _processes(run: Run, last_status: Status) -> list[int]:
    """The processes of the run here; first the one to be asked: that which wrote last, where it lives, else another.

    A number alone may be given to a stranger's process. Runs of version 0.1 have left no more than that.
    """
    if owner_lock.claimed(run.paths.lock) is None:
        return [last_status.pid]
    pids = [process.pid for process in owner_lock.living_here(run.paths.lock)]
    return sorted(pids, key=lambda pid: pid != last_status.pid)


def _let_go_on(pids: Sequence[int]) -> None:
    """Continues those that are stopped."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
