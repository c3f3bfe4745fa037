"""Lock of a sweep: who advances it now; a second one is refused, or waits for its turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunefleet.base import owner_lock
from tunefleet.base.errors import RunError
from tunefleet.base.owner import Owner
from tunefleet.base.owner_lock import LockedError

_LOOK = 1.0  # seconds that a command which only looks may hold it


class SweepBusy(RunError):
    """Another process advances the sweep."""


@contextmanager
def hold(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Has the lock at `path`. Raises `SweepBusy` after `wait` seconds."""
    try:
        with owner_lock.hold(path, max(wait, _LOOK)):
            yield
    except LockedError as error:
        raise SweepBusy(f"{path.parent.name} is being advanced by {error.owner.describe()}: one at a time.") from None


def owner(path: Path) -> Owner | None:
    """Who has the lock, to be shown; None where nobody does."""
    try:
        return next(iter(owner_lock.living(path, watch=0.0)), None)
    except OSError:
        return None
