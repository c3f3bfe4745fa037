"""Even sample of a stream of unknown length, from its first item to its last."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Sample(Generic[T]):
    """Keeps every n-th; whenever there are twice as many as asked for, every second of them goes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._items: list[T] = []
        self._stride = 1
        self._count_offered = 0
        self._last: list[T] = []

    def offer(self, item: T) -> None:
        """Offers the next one."""
        if self._count_offered % self._stride == 0:
            self._items.append(item)
            if len(self._items) == 2 * self._count:
                self._items = self._items[::2]
                self._stride *= 2
        self._count_offered += 1
        self._last = [item]

    def items(self) -> list[T]:
        """At most as many as were asked for, the first and the last among them, evenly between."""
        missing = (self._count_offered - 1) % self._stride != 0
        items = [*self._items, *(self._last if missing else [])]
        numbers = sorted({i * (len(items) - 1) // (self._count - 1) for i in range(self._count)}) if items else []
        return [items[i] for i in numbers]
