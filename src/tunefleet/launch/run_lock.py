"""Lock of a run directory: one start of a run at a time, whoever starts it, as long as any of its processes lives."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from tunefleet.base import disk, owner_lock, status
from tunefleet.base.errors import DiskError, RunError
from tunefleet.base.owner import Owner
from tunefleet.base.owner_lock import LockedError
from tunefleet.base.paths import RunPaths
from tunefleet.base.units import clock

START = "TUNEFLEET_START"  # in the environment of ranks: the start that they belong to
JOB_PATIENCE = 150.0  # seconds for processes of an earlier job, on machines that were lost, to be gone for certain
RANKS_PATIENCE = 120.0  # seconds in which rank 0 must have taken the directory
_NAMES = ("SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID", "PMIX_NAMESPACE", "PMI_JOBID", "MASTER_PORT")


class Busy(RunError):
    """Another start has the run directory."""


@contextmanager
def hold(run: RunPaths, start: str = "", wait: float = 0.0, role: str = "launcher") -> Iterator[str]:
    """Has the run directory meanwhile; yields the name of the start, by which its ranks join.

    Raises `Busy` where another start has it for longer than `wait` seconds, `DiskError` where its disk is full or
    fails, `RunError` where nothing can be written.
    """
    me = Owner.current(role, start or secrets.token_hex(8))
    try:
        with owner_lock.hold(run.lock, wait, me, lambda owner: _say_waiting(run, owner)):
            yield me.start
    except LockedError as error:
        raise _busy(run, error.owner) from None
    except OSError as error:
        if isinstance(failure := disk.recognised(error, run.lock), DiskError):
            raise failure from None
        if error.filename is None or not str(error.filename).startswith(str(run.lock)):
            raise
        raise RunError(f"{run.root}: cannot be written: {error.strerror}. Choose another output_dir=.") from None


@contextmanager
def join(run: RunPaths, start: str, rank: int, wait: float = 0.0) -> Iterator[None]:
    """Is rank `rank` of `start`, when that has the directory. Raises `Busy` where another has, `RunError` if none,
    `DiskError` where its disk is full or fails.
    """
    deadline = time.monotonic() + wait
    while wait and not owner_lock.is_of(run.lock, start):
        if processes := rivals(run, start, watch=0.0):
            raise _busy(run, processes[0])
        if time.monotonic() > deadline:
            raise RunError(
                f"{run.root.name}: rank 0 has not taken {run.lock} within {wait:.0f} s. Start all ranks anew."
            )
        time.sleep(owner_lock.POLL)
    try:
        with disk.writing(run.lock), owner_lock.join(run.lock, Owner.current(f"rank {rank}", start)):
            yield
    except LockedError as error:
        raise _busy(run, error.owner) from None


def of_rank(run: RunPaths, rank: int, start: str, wait: float = 0.0) -> AbstractContextManager[object]:
    """For ranks that no launcher of ours has started: the first takes the directory, the others join it."""
    return join(run, start, rank, RANKS_PATIENCE) if rank else hold(run, start, wait, "rank 0")


def rivals(run: RunPaths, start: str = "", watch: float | None = None) -> list[Owner]:
    """Living processes that have the directory, but for those of `start`. `watch` is as in `owner.lives`."""
    return [process for process in owner_lock.living(run.lock, watch) if not start or process.start != start]


def start_of_job(environment: Mapping[str, str]) -> str:
    """What one attempt of a SLURM job is called, in its batch script and in all of its tasks."""
    return f"job {environment['SLURM_JOB_ID']}, restart {environment.get('SLURM_RESTART_COUNT', '0')}"


def start_of_ranks(environment: Mapping[str, str]) -> str:
    """What all ranks call their start that another launcher has started: what they must have in common to meet.

    torchrun's restarts have the same names, and each is a start of its own; on several machines their counts differ.
    """
    is_one_machine = environment.get("LOCAL_WORLD_SIZE") == environment.get("WORLD_SIZE")
    names = [*_NAMES, *["TORCHELASTIC_RESTART_COUNT"] * is_one_machine]
    return ", ".join(f"{name}={environment[name]}" for name in names if name in environment)


def _busy(run: RunPaths, process: Owner) -> Busy:
    current = status.read(run.status)
    progress = f"step {current.step} on {current.host}, {clock(current.age)} ago; " if current else ""
    return Busy(
        f"{run.root.name} is already running ({progress}{process.describe()}). Wait for it, end it with "
        f"tunefleet cancel {run.root.name}, or choose another name=."
    )


def _say_waiting(run: RunPaths, process: Owner) -> None:
    print(f"tunefleet: {run.root.name} waits for {process.describe()}", file=sys.stderr, flush=True)
