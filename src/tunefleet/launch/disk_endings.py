"""Ending of a start that meets a full or failing disk: one error for whatever was written, and a final state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tunefleet.base import disk, status
from tunefleet.base.errors import DiskError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch.ending import Ending


@contextmanager
def settled(run: RunPaths) -> Iterator[None]:
    """Within it, an error about a disk is raised as `DiskError`, after the run's final state was written, if it can be.

    In the room of the run's reserve, where an earlier start has kept one.
    """
    try:
        yield
    except OSError as unexpected:
        error = disk.recognised(unexpected, run.root)
        if not isinstance(error, DiskError):
            raise
        with suppress(OSError):  # the console and the exit code say it then
            settle(run, error)
        raise error from None


def settle(run: RunPaths, error: DiskError) -> None:
    """The final state. Raises `DiskError` where there is no room for it either."""
    last_status = status.read(run.status) or Status(State.STARTING)
    if not (last_status.state is State.FAILED and last_status.cause is Cause.DISK):  # or a rank has said it
        status.write(run.status, Ending(Cause.DISK, str(error)).final_status(last_status))
