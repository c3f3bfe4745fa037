"""Watch over the pulses of all ranks: which of them gets on, for how long none has, and which is to blame."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tunefleet.base import pulse
from tunefleet.base.paths import RunPaths
from tunefleet.base.pulse import Pulse
from tunefleet.config.launch import LaunchConfig

LONGEST_INTERVAL = 10.0  # seconds between two pulses
_SHORT = 2.0  # the same where all ranks are on one machine
_PARTS = 10  # pulses within a limit, at least
_STEP_LIMIT = 600.0
_STEPS = 20  # median steps in the step limit, where they are more than it
_MISSED = 4  # intervals without a pulse after which a rank is silent
_STALLED = 300.0  # seconds without progress that are told at the latest
_WINDOW = 12.0  # seconds of pulses before a rank is called slow
_LATE, _WAITED, _BUSY = 0.25, 0.4, 0.15  # shares of the last 20 seconds


@dataclass(frozen=True)
class Limits:
    """Seconds without progress that end a run: up to its first step, and afterwards; 0 is no limit.

    `step` is None where it follows from the run's rank_pulse steps.
    """

    start: float
    step: float | None

    @staticmethod
    def from_settings(launch: LaunchConfig) -> Limits:
        """Those of the settings."""
        return Limits(launch.start_limit, launch.step_limit)

    def current(self, pulses: Sequence[Pulse]) -> float:
        """The one that holds for ranks that stand so."""
        if not pulses or not all(rank_pulse.training for rank_pulse in pulses):
            return self.start
        if self.step is not None:
            return self.step
        return max(_STEP_LIMIT, _STEPS * max(rank_pulse.median for rank_pulse in pulses))

    def interval(self, one_machine: bool) -> float:
        """Seconds between two pulses."""
        shortest = min((limit for limit in (self.start, self.step or 0.0) if limit), default=LONGEST_INTERVAL * _PARTS)
        return min(_SHORT if one_machine else LONGEST_INTERVAL, shortest / _PARTS)


@dataclass
class _Sight:
    """What was last read of a rank, and for how long its pulse, and its progress, have been the same.

    `first` was there at the first look, and may be an earlier start's: `pulse` is one that came while we looked.
    """

    first: Pulse | None = None
    pulse: Pulse | None = None
    silent: float = 0.0
    still: float = 0.0
    read: float = 0.0
    touched: int = 0


@dataclass(frozen=True)
class View:
    """How the ranks stand: seconds without progress of any, their limit, and who is to blame for it.

    `silent` are those whose process itself gives no sign; `slow` says of each slow rank why.
    """

    still: float
    limit: float
    pulses: Mapping[int, Pulse | None]
    blamed: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()
    slow: Mapping[int, str] = field(default_factory=dict)

    @property
    def hangs(self) -> bool:
        """Whether the limit is reached."""
        return bool(self.limit) and self.still >= self.limit

    @property
    def stalled(self) -> bool:
        """Whether it is time to say so, long before the limit."""
        return bool(self.limit) and self.still >= min(self.limit / 2, _STALLED)


class HangWatch:
    """Reads the pulses of `ranks` at each look.

    Times are those of this process's own clock: clocks of other machines may differ. A look that comes late counts
    as two intervals, so that a process that was itself stopped, or a suspended machine, blames nobody when it goes on.
    """

    def __init__(
        self,
        paths: RunPaths,
        ranks: Sequence[int],
        limits: Limits,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = paths
        self._limits = limits
        self._interval = interval
        self._clock = clock
        self._last = clock()
        self._sights = {rank: _Sight() for rank in ranks}

    def hurry(self, seconds: float) -> None:
        """From now on no limit is longer than `seconds`, or five steps: somebody waits for the end of the run."""
        slowest = max((sight.pulse.median for sight in self._sights.values() if sight.pulse), default=0.0)
        least = max(seconds, 5 * slowest)
        limits = self._limits
        self._limits = Limits(min(limits.start or least, least), min(limits.step or least, least))

    def look(self) -> View:
        """How the ranks stand now."""
        moment = self._clock()
        passed, self._last = min(moment - self._last, 2 * self._interval), moment
        for rank, sight in self._sights.items():
            self._read(rank, sight, passed)
        present = {rank: sight for rank, sight in self._sights.items() if not (sight.pulse and sight.pulse.ended)}
        return self._view(present)

    def _read(self, rank: int, sight: _Sight, passed: float) -> None:
        path = self._paths.pulse(rank)
        latest, touched = pulse.read(path), _touched(path)
        sight.silent += passed
        sight.still += passed
        if latest is None:  # not there yet, or just being replaced
            return
        sight.first = previous = sight.pulse or sight.first or latest
        if (latest.pid, latest.born, latest.beats) != (previous.pid, previous.born, previous.beats):
            if latest.ticks != previous.ticks or latest.solo or sight.pulse is None:
                sight.still = 0.0
            sight.silent, sight.pulse, sight.read = 0.0, latest, sight.read + passed
        elif sight.pulse:
            sight.pulse = latest  # its place is newer than its pulse
            if touched != sight.touched:  # it lives, and its disk is full
                sight.silent = sight.still = 0.0
        sight.touched = touched

    def _view(self, present: Mapping[int, _Sight]) -> View:
        pulses = {rank: sight.pulse for rank, sight in present.items()}
        limit = self._limits.current([rank_pulse for rank_pulse in pulses.values() if rank_pulse])
        if None in pulses.values():
            limit = self._limits.start
        if not present:
            return View(0.0, limit, {})
        quiet = max(_MISSED * self._interval, 1.0)
        silent = tuple(rank for rank, sight in present.items() if sight.silent >= quiet)
        longest = max((sight.silent for sight in present.values()), default=0.0)
        still = max(min(sight.still for sight in present.values()), longest if silent else 0.0)
        blamed = silent or _behind(pulses)
        return View(still, limit, pulses, blamed, silent, {} if silent else self._slow(present))

    def _slow(self, present: Mapping[int, _Sight]) -> dict[int, str]:
        """Ranks for which the others wait, while all of them train, and why as far as it shows."""
        training = {rank: sight.pulse for rank, sight in present.items() if sight.pulse and sight.pulse.training}
        if len(training) < len(present) or any(sight.read < _WINDOW for sight in present.values()):
            return {}
        reasons = {}
        for rank, rank_pulse in training.items():
            peers = [pulse for peer, pulse in training.items() if peer != rank] or [rank_pulse]
            waited = statistics.median(pulse.waited for pulse in peers)
            late = statistics.median(pulse.late for pulse in peers)
            if len(training) > 1 and rank_pulse.late >= max(_LATE, 2 * late):
                reasons[rank] = f"was stopped, or had no processor, for {rank_pulse.late:.0%} of the last 20 seconds"
            elif rank_pulse.waited <= _BUSY and waited >= _WAITED:
                reasons[rank] = f"is slow: the others wait for it for {waited:.0%} of the time"
        return reasons


def _touched(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _behind(pulses: Mapping[int, Pulse | None]) -> tuple[int, ...]:
    """Of ranks that all live: those that never came, else those that have done least, and of these not the waiting."""
    missing = tuple(rank for rank, pulse in pulses.items() if pulse is None)
    if missing:
        return missing
    alive = {rank: pulse for rank, pulse in pulses.items() if pulse}
    least = min(pulse.laps for pulse in alive.values())
    behind = {rank: pulse for rank, pulse in alive.items() if pulse.laps == least}
    busy = tuple(rank for rank, pulse in behind.items() if not pulse.waits)
    return busy or tuple(behind)
