"""Meter of a preparation: how many rows and bytes of a source are read, for the progress line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from tunefleet.base.units import clock


class Meter:
    """Counts what is read of one source after the other. A thread may ask for `state` meanwhile."""

    def __init__(self) -> None:
        self._name = ""
        self._size = 0
        self._max_rows: int | None = None
        self._began = 0.0
        self._offsets: dict[Path, int] = {}
        self._finishing = ""
        self.read = 0
        """Rows of this source that were read."""
        self.rows = 0
        """Rows of it that have become tokens since, or were left out."""

    def begin(self, name: str, files: Sequence[Path], max_rows: int | None) -> None:
        """What follows is of another source; of its files no more than `max_rows` rows are read."""
        self._name, self._max_rows, self._finishing = name, max_rows, ""
        self._size = sum(path.stat().st_size for path in files if path.is_file())
        self._began, self._offsets, self.read, self.rows = -1.0, {}, 0, 0

    def at(self, path: Path, offset: int) -> None:
        """A file is read up to this byte."""
        self._offsets[path] = offset

    def finish(self, act: str) -> None:
        """All rows are read, and `act` follows."""
        self._finishing = act

    @property
    def share(self) -> float | None:
        """How much of the source has become tokens; None where it is unknown."""
        offset = sum(list(self._offsets.values()))
        shares = [offset / self._size] if offset and self._size else []
        shares += [self.read / self._max_rows] if self.read and self._max_rows else []
        return min(1.0, max(shares)) * self.rows / max(1, self.read) if shares else None

    def state(self, seconds: float) -> str:
        """`train: 12,000 rows (34%), 3,400 rows/s, 7s left`; `seconds` have passed since the preparation began."""
        if self._finishing:
            return f"{self._name}: {self.rows:,} rows, {self._finishing}"
        if self._began < 0:
            self._began = seconds  # of this source; it is asked at least twice a second
        passed = max(seconds - self._began, 0.0)
        share, rate = self.share, f", {self.rows / passed:,.0f} rows/s" if passed >= 1 else ""
        part = f" ({share:.0%})" if share is not None else ""
        remaining = f", {clock(passed * (1 - share) / share)} left" if share and rate else ""
        return f"{self._name}: {self.rows:,} rows{part}{rate}{remaining}"


_WATCHING: ContextVar[Meter | None] = ContextVar("meter", default=None)


def current() -> Meter:
    """That of the preparation which reads, else one that is not shown."""
    return _WATCHING.get() or Meter()


@contextmanager
def watching(meter: Meter) -> Iterator[None]:
    """What is read meanwhile is counted by `meter`."""
    token = _WATCHING.set(meter)
    try:
        yield
    finally:
        _WATCHING.reset(token)
