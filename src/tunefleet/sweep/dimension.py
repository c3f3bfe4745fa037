"""Dimension: the values that are drawn from at once, as texts that Hydra's override grammar reads back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True)
class Choice:
    """Values without an order. A number among them stays the text that was typed: `1e-5`."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Steps:
    """Numbers of equal distance, in the order of `range(start,stop,step)`, without `stop`."""

    numbers: tuple[float, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The numbers as they are typed."""
        return tuple(map(number_text, self.numbers))


@dataclass(frozen=True)
class Interval:
    """All numbers from `low` to `high`, both included, or the integers among them: uniform, or in their logarithm."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def text(self, number: float) -> str:
        """`number` as it is typed: rounded, and still inside."""
        rounded = round(number) if self.integer else float(f"{number:.{SIGNIFICANT_DIGITS}g}")
        return number_text(min(max(rounded, self.low), self.high))


Dimension = Choice | Steps | Interval


def count(dimension: Dimension) -> int | None:
    """How many values there are; None where there is no end of them."""
    match dimension:
        case Interval(low, high, integer=integer):
            return int(high) - int(low) + 1 if integer else None
        case _:
            return len(dimension.texts)


def texts(dimension: Dimension) -> Sequence[str]:
    """Every value of a dimension that has an end."""
    match dimension:
        case Interval(low, high, integer=True):
            return [str(number) for number in range(int(low), int(high) + 1)]
        case Interval():
            raise TypeError(f"{dimension} has no end of values")
        case _:
            return dimension.texts


def number_text(number: float) -> str:
    """A number as it is typed: six significant digits at most.

    Directories and identities hold it, so it has to be short, and the same on every machine.
    """
    return str(number) if isinstance(number, int) else repr(float(f"{number:.{SIGNIFICANT_DIGITS}g}"))


def describe(dimension: Dimension) -> str:
    """What is printed of it before a sweep begins."""
    match dimension:
        case Interval(low, high, log, integer):
            kind = "whole numbers" if integer else "numbers"
            return f"{kind} from {number_text(low)} to {number_text(high)}{', log' if log else ''}"
        case _:
            return ", ".join(dimension.texts)
