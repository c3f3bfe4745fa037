"""Background save: a snapshot that is written while training goes on, and committed when all ranks have written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from tunefleet.base.checksums import Checksum
from tunefleet.checkpoint.agreement import on_all, on_first
from tunefleet.contracts import Group

Saved = tuple[int, str]
"""The step of a checkpoint that counts, and its manifest's digest."""
_DONE, _GOING_ON, _FAILED = range(3)


class BackgroundSave:
    """A save of `step` into `folder`: `write` is this rank's part, `publish` the commit on rank 0, each in a thread.

    Threads ask no other rank: ranks agree in `advance`, between two steps, when each of them is where the others are.
    """

    def __init__(
        self,
        group: Group,
        folder: Path,
        step: int,
        write: Callable[[], dict[str, Checksum]],
        publish: Callable[[dict[str, Checksum]], Saved],
    ) -> None:
        self.step = step
        self._group = group
        self._folder = folder
        self._publish = publish
        self._writing = _begun(write)
        self._publishing: Future[Any] | None = None

    def advance(self, wait: bool = False) -> Saved | None:
        """What is saved, when it is; None while it is written. Raises `DiskError`, on all ranks. Collective.

        With `wait` it is only asked when the save is over.
        """
        if self._publishing is None:
            if self._goes_on(self._writing, wait):
                return None
            parts = on_all(self._group, self._folder, self._writing.result)  # then all files are on the disk
            sums = {name: checksum for part in parts for name, checksum in part.items()}
            first = self._group.rank == 0
            self._publishing = _begun(lambda: self._publish(sums) if first else None)
        if self._goes_on(self._publishing, wait):
            return None
        saved: Saved = on_first(self._group, self._folder, self._publishing.result)
        return saved

    def _goes_on(self, work: Future[Any], wait: bool) -> bool:
        """Whether some rank is at work and none has failed; where one has, until the others are done too."""
        if wait:
            work.exception()
        code = _GOING_ON if not work.done() else _FAILED if work.exception() else _DONE
        return self._group.agree(code) == _GOING_ON


def _begun(act: Callable[[], Any]) -> Future[Any]:
    """What `act` will have returned or raised, in a thread that does not keep the process from its end."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(act())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, name="background save", daemon=True).start()
    return outcome
