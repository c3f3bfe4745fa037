"""Hash tables of 64-bit hashes: at 12 to 36 bytes each, where Python's own sets take a hundred and more."""

from __future__ import annotations

from array import array

_SLOTS = 1 << 12  # at the beginning
_EMPTY = 0


class Hashes:
    """Open addressing with linear probing, at most two thirds full."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _SLOTS))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, number: int) -> bool:
        """Whether `number`, of 64 bits, was not there; it is then."""
        number = number or 1  # zero means an empty slot
        slot = self._slot(number)
        if self._slots[slot] == number:
            return False
        self._slots[slot] = number
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            self._grow()
        return True

    def _slot(self, number: int) -> int:
        """Where it stands, or would stand."""
        mask = len(self._slots) - 1
        slot = number & mask
        while self._slots[slot] not in (_EMPTY, number):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        hashes = self._slots
        self._slots = array("Q", bytes(16 * len(hashes)))
        for number in hashes:
            if number:
                self._slots[self._slot(number)] = number


class Numbered:
    """Hashes with the numbers that they came with; a hash may have many. Built as `Hashes` is."""

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _SLOTS))
        self._numbers = array("I", bytes(4 * _SLOTS))
        self._count = 0

    def numbers(self, key: int) -> list[int]:
        """The numbers of a hash."""
        key = key or 1
        mask = len(self._slots) - 1
        slot = key & mask
        numbers = []
        while self._slots[slot]:
            if self._slots[slot] == key:
                numbers.append(self._numbers[slot])
            slot = (slot + 1) & mask
        return numbers

    def add(self, key: int, number: int) -> None:
        """Remembers another number of a hash."""
        if 3 * self._count >= 2 * len(self._slots):
            self._grow()
        self._put(key or 1, number)
        self._count += 1

    def _put(self, key: int, number: int) -> None:
        mask = len(self._slots) - 1
        slot = key & mask
        while self._slots[slot]:
            slot = (slot + 1) & mask
        self._slots[slot], self._numbers[slot] = key, number

    def _grow(self) -> None:
        keys, numbers = self._slots, self._numbers
        self._slots, self._numbers = array("Q", bytes(16 * len(keys))), array("I", bytes(8 * len(numbers)))
        for key, number in zip(keys, numbers, strict=True):
            if key:
                self._put(key, number)
