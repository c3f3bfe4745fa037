"""Journal of a sweep: the truth about it, one event a line, only ever appended to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunefleet.base import files


@dataclass(frozen=True)
class Event:
    """Something that happened or was decided, in seconds since 1970. `number` counts the lines from 1 on."""

    number: int
    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass
class Journal:
    """The events of the file at `path`, and by number the lines that cannot be read or repeat an earlier number.

    A last line that a crash cut off was never an act, because an event is written before it is acted upon: it is
    dropped. A damaged line in the middle is reported, and the others count. Numbers repeat where two wrote at once, on
    a disk that keeps locks to one machine.
    """

    path: Path
    events: list[Event]
    damaged: list[int]
    repeated: list[int] = field(default_factory=list)

    @staticmethod
    def read(path: Path) -> Journal:
        """The journal at `path`; an empty one where there is no file."""
        lines = files.read_bytes(path).split(b"\n") if path.exists() else [b""]
        events: list[Event] = []
        damaged, repeated = [], []
        for position, line in enumerate(lines[:-1], 1):  # what follows the last line break was cut off
            event = _event(line)
            if event:
                repeated += [position] if events and event.number <= events[-1].number else []
                events.append(event)
            elif line:
                damaged.append(position)
        return Journal(path, events, damaged, repeated)

    def complaints(self) -> list[str]:
        """What is wrong with the file; the events that can be read count."""
        lines = {"cannot be read": self.damaged, "repeat earlier numbers: two wrote at once": self.repeated}
        return [f"{self.path}: lines {', '.join(map(str, at))} {reason}" for reason, at in lines.items() if at]

    def append(self, kind: str, **data: Any) -> Event:
        """Adds one event, and returns when it is on the disk. Only the holder of the sweep's lock may.

        Raises `OSError`, which names the file, where it cannot be written: then nothing may be done about the event.
        """
        number = self.events[-1].number + 1 if self.events else 1
        event = Event(number, time.time(), kind, data)
        line = json.dumps({"n": number, "at": event.at, "event": kind, **data}, ensure_ascii=False)
        try:
            self._write(f"{line}\n".encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self.events.append(event)
        return event

    def _write(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+", opener=files.no_link) as stream:
            stream.truncate(end_of_whole_lines(stream))
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())


def _event(line: bytes) -> Event | None:
    """The event in a line; None where it is none, or a field of it is of another kind than events have."""
    try:
        record = files.parse_json(line)
        number, at, kind = int(record.pop("n")), float(record.pop("at")), str(record.pop("event"))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    is_right = all(_FIELDS[name](value) for name, value in record.items() if name in _FIELDS)
    return Event(number, at, kind, record) if is_right else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and not (type(value) is int and abs(value) > _LARGEST)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(item is None or _is_number(item) for item in value)


def _is_settings(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_group(value: Any) -> bool:
    return isinstance(value, dict)


def _are_runs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(run, dict) and all(map(_is_of_run, run.items())) for run in value)


def _is_of_run(item: tuple[str, Any]) -> bool:
    name, value = item
    if name == "overrides":
        return isinstance(value, list) and all(map(_is_text, value))
    return _is_text(value) if name in ("run_dir", "identity") else value is None or not isinstance(value, (list, dict))


_LARGEST = 1 << 53
_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("trial", "rung", "first_rung"), _is_count),
    **dict.fromkeys(("reason", "source", "state", "act"), _is_text),
    **dict.fromkeys(("means", "spreads"), _are_numbers),
    **dict.fromkeys(("measured", "stood", "limits"), _is_group),
    "values": _is_settings,
    "runs": _are_runs,
}
"""What fields of events are; docs/architecture.md has their meaning."""


def end_of_whole_lines(stream: Any) -> int:
    """Where the last whole line ends: what a crash cut off goes, or it would spoil the next line."""
    end: int = stream.seek(0, os.SEEK_END)
    position = end
    while position:
        start = max(0, position - 4096)
        stream.seek(start)
        block = stream.read(position - start)
        if (line_break := block.rfind(b"\n")) >= 0:
            return start + int(line_break) + 1
        position = start
    return 0
