"""Amounts with units: durations in steps, epochs or percent, cadences, and numbers in readable form."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum

GIB = 2**30
"""Bytes of a GiB."""


class Unit(Enum):
    """What a duration counts."""

    STEPS = "steps"
    EPOCHS = "epochs"
    PERCENT = "percent"


@dataclass(frozen=True)
class Duration:
    """A length of training, such as 100 steps, 0.5 epochs or 3 percent of all steps."""

    amount: float
    unit: Unit

    @staticmethod
    def parse(text: str | int | float) -> Duration:
        """Reads `100`, `100 steps`, `0.5 epochs` or `3%`. Raises `ValueError` for anything else."""
        match = _DURATION.fullmatch(str(text).strip().lower())
        if isinstance(text, bool) or match is None:
            raise ValueError(f"{text!r} is not a duration")
        duration = Duration(_finite(match["amount"]), _UNITS[match["unit"]])
        if duration.unit is Unit.STEPS and duration.amount != int(duration.amount):
            raise ValueError(f"{text!r} is not a whole number of steps")
        return duration

    def in_steps(self, total_steps: int, steps_per_epoch: float) -> int:
        """This duration in optimizer steps, rounded to the nearest; below 0.5 steps it is 0."""
        return round(self.exactly(total_steps, steps_per_epoch))

    def exactly(self, total_steps: int, steps_per_epoch: float) -> float:
        """This duration in optimizer steps and fractions of one."""
        scale = {Unit.STEPS: 1.0, Unit.EPOCHS: steps_per_epoch, Unit.PERCENT: total_steps / 100}
        return self.amount * scale[self.unit]

    @property
    def text(self) -> str:
        """As it is printed: 1 epoch, 2 epochs. `str` is what is saved, and what names a run."""
        return singular(str(self))

    def __str__(self) -> str:
        unit = {Unit.STEPS: " steps", Unit.EPOCHS: " epochs", Unit.PERCENT: "%"}[self.unit]
        return f"{_digits(self.amount)}{unit}"


def _finite(digits: str) -> float:
    """The number; `ValueError` for one that a computer takes for infinite, such as 1e999."""
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits} is too large a number")
    return number


def _digits(amount: float) -> str:
    """Every digit: `parse` reads it back."""
    return repr(float(amount)).removesuffix(".0")


_DURATION = re.compile(r"(?P<amount>\d+(\.\d+)?(e[+-]?\d+)?)\s*(?P<unit>steps?|epochs?|percent|%|)")
_UNITS = {
    "": Unit.STEPS,
    "step": Unit.STEPS,
    "steps": Unit.STEPS,
    "epoch": Unit.EPOCHS,
    "epochs": Unit.EPOCHS,
    "%": Unit.PERCENT,
    "percent": Unit.PERCENT,
}


@dataclass(frozen=True)
class Cadence:
    """How often something is done: after each of `durations` and of `minutes` on the clock, whichever comes first.

    0 minutes are none. A run of the same seed does it at the same steps where no minutes are given.
    """

    durations: tuple[Duration, ...] = ()
    minutes: float = 0.0

    @staticmethod
    def parse(text: str | int | float) -> Cadence:
        """Reads a duration, `30 minutes`, `2h`, or several: `20% or 1 epoch`. Raises `ValueError` for anything else."""
        parts = re.split(r"\s+or\s+", text.strip().lower()) if isinstance(text, str) else [text]
        times = [clock for part in parts if (clock := _on_the_clock(part)) is not None]
        if any(not time for time in times):
            raise ValueError(f"{text!r} is no time at all")
        durations = tuple(Duration.parse(part) for part in parts if _on_the_clock(part) is None)
        return Cadence(durations, min(times, default=0.0))

    @property
    def is_never(self) -> bool:
        """Whether it never comes, as with 0 steps."""
        return not self.minutes and not any(duration.amount for duration in self.durations)

    def exactly(self, total_steps: int, steps_per_epoch: float) -> float:
        """The shortest of the durations in optimizer steps and fractions of one; 0 where none counts steps."""
        return min((d.exactly(total_steps, steps_per_epoch) for d in self.durations if d.amount), default=0.0)

    @property
    def text(self) -> str:
        """As it is printed: 20% or 1 epoch."""
        return " or ".join(map(singular, str(self).split(" or ")))

    def __str__(self) -> str:
        minutes = [f"{_digits(self.minutes)} minutes"] if self.minutes else []
        return " or ".join([*(str(duration) for duration in self.durations), *minutes])


@dataclass(frozen=True)
class Size:
    """Bytes of a disk or a file, as they were typed: 200 GB, 1.5 TiB."""

    bytes: int
    text: str

    @staticmethod
    def parse(text: str | int) -> Size:
        """Reads `200 GB` (10^9 bytes each), `1.5TiB` (2^40), or bytes. Raises `ValueError` for anything else."""
        match = _SIZE.fullmatch(str(text).strip().lower())
        if isinstance(text, bool) or match is None or not _finite(match["amount"]):
            raise ValueError(f"{text!r} is not a size")
        base = 1024 if match["binary"] else 1000
        return Size(round(float(match["amount"]) * base ** "bkmgtp".index(match["prefix"] or "b")), str(text).strip())

    def __str__(self) -> str:
        return self.text


_SIZE = re.compile(r"(?P<amount>\d+(\.\d+)?(e[+-]?\d+)?)\s*(?P<prefix>[kmgtp])?(?P<binary>i)?(bytes|byte|b)?")


def _on_the_clock(text: str | int | float) -> float | None:
    """Minutes; None for what is no time."""
    match = _CLOCK.fullmatch(str(text).strip().lower())
    return _finite(match["amount"]) * _MINUTES[match["unit"][0]] if match else None


_CLOCK = re.compile(r"(?P<amount>\d+(\.\d+)?(e[+-]?\d+)?)\s*(?P<unit>s|seconds?|m|min|mins|minutes?|h|hours?|d|days?)")


def steps(amount: int) -> Duration:
    """`amount` optimizer steps."""
    return Duration(amount, Unit.STEPS)


def percent(amount: float) -> Duration:
    """`amount` percent of all optimizer steps."""
    return Duration(amount, Unit.PERCENT)


def singular(amount: str) -> str:
    """`amount`, such as "1 epochs", with the singular of its unit where it is one."""
    return amount.removesuffix("s") if amount.startswith("1 ") else amount


def count(number: float) -> str:
    """A large number in three digits: 1.32B, 45.2M, 9.6k, 512."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}" if isinstance(number, float) else str(number)


def size(amount: int) -> str:
    """An amount of bytes in readable form: `312 bytes`, `1.5 MiB`."""
    if amount < 1024:
        return f"{amount} bytes"
    power = min(4, int(math.log(amount, 1024)))
    return f"{amount / 1024**power:.1f} {'KMGT'[power - 1]}iB"


def clock(seconds: float) -> str:
    """Seconds in readable form: 42s, 3m 05s, 2h 07m."""
    total = round(seconds)
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m {total % 60:02d}s"
    return f"{total // 3600}h {total % 3600 // 60:02d}m"


def minutes(text: str) -> int:
    """A length of time in whole minutes, rounded up: 30m, 4h, 1d 12h, 90 (minutes), 4:00:00, 1-12:00:00.

    Raises `ValueError` for anything else, and for no time at all.
    """
    amount = _minutes_of_clock(text.strip()) or _minutes_of_units(text.strip().lower())
    if not amount:
        raise ValueError(f"{text!r} is not a length of time")
    return math.ceil(round(amount, 6))  # 8.3h are 498 minutes, not a hair more


def _minutes_of_clock(text: str) -> float:
    """SLURM's own forms: days-hours, days-hours:minutes, days-hours:minutes:seconds, hours:minutes:seconds."""
    if not re.fullmatch(r"\d+-\d+(:\d+){0,2}|\d+:\d+:\d+", text):
        return 0.0
    days, _, clock = text.rpartition("-")
    hours, minute, second = (*(int(part) for part in clock.split(":")), 0, 0)[:3]
    return int(days or 0) * 1440 + hours * 60 + minute + second / 60


def _minutes_of_units(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text)
    matched = "".join("".join(part) for part in parts)
    if not parts or matched != re.sub(r"\s+", "", text) or (len(parts) > 1 and not all(unit for _, unit in parts)):
        return 0.0
    return sum(_finite(amount) * _MINUTES[unit] for amount, unit in parts)


_MINUTES = {"": 1.0, "s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}
