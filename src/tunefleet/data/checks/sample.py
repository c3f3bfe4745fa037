"""A few of many, from the first to the last, chosen while they stream by."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Sample(Generic[T]):
    """Keeps every n-th; whenever there are twice as many as wanted, every second one of them goes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[T] = []
        self._every = 1
        self._seen = 0
        self._last: list[T] = []

    def see(self, one: T) -> None:
        """Offers the next one."""
        if self._seen % self._every == 0:
            self._kept.append(one)
            if len(self._kept) == 2 * self._count:
                self._kept = self._kept[::2]
                self._every *= 2
        self._seen += 1
        self._last = [one]

    def chosen(self) -> list[T]:
        """At most as many as were wanted, the first and the last among them, evenly between."""
        missing = (self._seen - 1) % self._every != 0
        found = [*self._kept, *(self._last if missing else [])]
        numbers = sorted({i * (len(found) - 1) // (self._count - 1) for i in range(self._count)}) if found else []
        return [found[i] for i in numbers]
