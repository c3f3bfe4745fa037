"""Pulse of a rank: what it does now, at which step, and whether it gets on; a file of each rank that others read.

Whatever gets on says so: `enter` when another act begins that all ranks do one after another, `tick` inside of one that
takes long, `solo_work` around what one rank does while the others wait for it. A thread of the rank writes it down.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from tunefleet.base import files
from tunefleet.base.processes import birth

_COLLECTIVE = (
    f"torch{os.sep}distributed{os.sep}",
    f"deepspeed{os.sep}comm{os.sep}",
    f"tunefleet{os.sep}engine{os.sep}group.py",
)
_DEPTH = 12  # innermost frames that are looked at
_STEPS = 20  # steps whose times make the median
_PLACE = 96  # bytes
_WINDOW = 20.0  # seconds over which shares are measured


@dataclass(frozen=True)
class Pulse:
    """One moment of a rank, as the others see it.

    `laps` counts the acts that all ranks do one after another, `ticks` every sign that it gets on, `beats` how often
    this was written. `waits` is whether it is in a collective. `late` and `waited` are shares of the last 20 seconds,
    in which the process was stopped or had no processor, and in which it waited for other ranks. `median` is that of
    its last steps in seconds, 0 before the first is done. `updated` is in seconds since 1970, on this rank's clock.
    """

    rank: int
    host: str
    pid: int
    born: int
    phase: str = "start"
    step: int = 0
    laps: int = 0
    ticks: int = 0
    beats: int = 0
    waits: bool = False
    solo: bool = False
    ended: bool = False
    median: float = 0.0
    late: float = 0.0
    waited: float = 0.0
    updated: float = 0.0

    @property
    def training(self) -> bool:
        """Whether the first step of this start is done."""
        return self.median > 0


def read(path: Path) -> Pulse | None:
    """The pulse in `path`; None where there is none that can be read."""
    try:
        record = files.read_json(path)
        values = {field.name: record[field.name] for field in fields(Pulse) if field.name in record}
        pulse = Pulse(**values)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    texts = all(isinstance(text, str) for text in (pulse.host, pulse.phase))
    right = texts and all(isinstance(values.get(name, 0), (int, float)) for name in _NUMBERS)
    return _in_its_place(pulse, path) if right else None


def _in_its_place(pulse: Pulse, path: Path) -> Pulse:
    """With the act and step that the rank has come to since it wrote its pulse."""
    try:
        laps, step, phase = files.read_text(place_of(path)).split(" ", 2)
        return replace(pulse, step=int(step), phase=phase.rstrip()) if int(laps) >= pulse.laps else pulse
    except (OSError, ValueError):
        return pulse


def place_of(path: Path) -> Path:
    """The file beside a pulse that its main thread writes without a system call."""
    return path.with_suffix(".place")


_NUMBERS = [field.name for field in fields(Pulse) if field.name not in ("host", "phase")]


class _Activity:
    """What this process does. The main thread writes it, the thread of the pulse reads it: single values, no lock.

    `place` is a mapped file with the same act and step: a process that is stopped shows in it where that was.
    """

    def __init__(self) -> None:
        self.phase = "start"
        self.step = self.laps = self.ticks = self.solo_depth = 0
        self.seconds: deque[float] = deque(maxlen=_STEPS)
        self.place: mmap.mmap | None = None

    def show(self) -> None:
        """Writes the place, in one piece of memory."""
        if self.place:
            self.place[:_PLACE] = f"{self.laps} {self.step} {self.phase}".encode()[:_PLACE].ljust(_PLACE)


_activity = _Activity()


def enter(phase: str, step: int | None = None) -> None:
    """Another act begins, which all ranks do in the same order; it belongs to `step`, or to the one before."""
    _activity.phase, _activity.step = phase, _activity.step if step is None else step
    _activity.laps += 1
    _activity.ticks += 1
    _activity.show()


def tick() -> None:
    """This process gets on inside of its act."""
    _activity.ticks += 1


def started() -> bool:
    """Whether this process has done its first step."""
    return bool(_activity.seconds)


def step_done(seconds: float) -> None:
    """A step is done that took `seconds`."""
    _activity.seconds.append(seconds)
    _activity.ticks += 1


@contextmanager
def solo_work(phase: str) -> Iterator[None]:
    """Around what this rank does while the others wait for it: no limit holds as long as the process itself lives."""
    outer_phase = _activity.phase
    _activity.phase = phase
    _activity.solo_depth += 1
    _activity.show()
    try:
        yield
    finally:
        _activity.phase = outer_phase
        _activity.solo_depth -= 1
        _activity.ticks += 1
        _activity.show()


class Shares:
    """Of the last 20 seconds, in which share of its samples something was so."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, float]] = deque()  # seconds, late ones, waited ones

    def add(self, seconds: float, late: float, waits: bool) -> None:
        """What happened in the last `seconds`."""
        self._samples.append((seconds, late, seconds * waits))
        while sum(sample[0] for sample in self._samples) > _WINDOW:
            self._samples.popleft()

    @property
    def late(self) -> float:
        """In which the process did not run."""
        return self._share(1)

    @property
    def waited(self) -> float:
        """In which it waited for other ranks."""
        return self._share(2)

    def _share(self, column: int) -> float:
        total = sum(sample[0] for sample in self._samples)
        return sum(sample[column] for sample in self._samples) / total if total else 0.0


class Writer:
    """Writes this rank's pulse to `path`, torn never: the file is replaced. On a full disk its time moves alone."""

    def __init__(self, path: Path, rank: int) -> None:
        self._path, self._rank = path, rank
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._born = birth(self._pid)
        self._beats = 0
        with suppress(OSError, ValueError):
            files.write_bytes(place_of(path), b" " * _PLACE)
            with open(place_of(path), "r+b", opener=files.no_link) as file:
                _activity.place = mmap.mmap(file.fileno(), _PLACE)
        _activity.show()

    def write(self, shares: Shares, ended: bool = False) -> bool:
        """Writes the pulse of now; returns whether others can see that this rank lives."""
        self._beats += 1
        pulse = Pulse(
            rank=self._rank,
            host=self._host,
            pid=self._pid,
            born=self._born,
            phase=_activity.phase,
            step=_activity.step,
            laps=_activity.laps,
            ticks=_activity.ticks,
            beats=self._beats,
            waits=in_collective(),
            solo=bool(_activity.solo_depth),
            ended=ended,
            median=statistics.median(_activity.seconds) if _activity.seconds else 0.0,
            late=shares.late,
            waited=shares.waited,
            updated=time.time(),
        )
        try:
            files.rewrite(self._path, json.dumps(asdict(pulse)).encode())
            return True
        except OSError:
            return self._touch()

    def _touch(self) -> bool:
        try:
            os.utime(self._path, follow_symlinks=False)
            return True
        except OSError:
            return False


def in_collective() -> bool:
    """Whether a thread of this process, other than the calling one, waits for other ranks, by its innermost frames."""
    frames = dict(sys._current_frames())
    frames.pop(threading.get_ident(), None)
    return any(_waits(frame) for frame in frames.values())


def _waits(frame: object) -> bool:
    for _ in range(_DEPTH):
        code = getattr(frame, "f_code", None)
        if code is None:
            return False
        if any(part in code.co_filename for part in _COLLECTIVE):
            return True
        frame = getattr(frame, "f_back", None)
    return False
