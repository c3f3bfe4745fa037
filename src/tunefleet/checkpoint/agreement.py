"""Agreement of ranks about writing: all go on, or all raise the same where one of them met an error of its disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tunefleet.base import disk
from tunefleet.base.errors import DiskError
from tunefleet.contracts import Group

Value = TypeVar("Value")


def on_all(group: Group, folder: Path, act: Callable[[], Value]) -> list[Value]:
    """What `act` returns on every rank, in rank order. Collective.

    Where it raises `OSError` on one, `DiskError` is raised on all; `folder` is what it names where the error names no
    file. No rank waits in vain for one that has left.
    """
    outcomes = group.gather(_outcome(act, folder))
    for _, message, number in outcomes:
        if number:
            raise DiskError(message, number, agreed=True)
    return [value for value, _, _ in outcomes]


def on_first(group: Group, folder: Path, act: Callable[[], Value]) -> Value:
    """What `act` returns on rank 0, on every rank; the same as `on_all` of errors. Collective."""
    value: Value = on_all(group, folder, act if group.rank == 0 else lambda: None)[0]  # type: ignore[assignment]
    return value


def _outcome(act: Callable[[], Value], folder: Path) -> tuple[Value, str, int] | tuple[None, str, int]:
    """(what `act` returns, why it failed, the system's number of the error); the number is 0 where it did not."""
    try:
        return act(), "", 0
    except OSError as error:
        path = Path(error.filename) if isinstance(error.filename, str) else folder
        failure = error if isinstance(error, DiskError) else disk.failure(path, error)
        return None, str(failure), failure.errno or 1
