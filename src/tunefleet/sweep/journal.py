"""Journal of a sweep: the truth about it, one event a line, only ever appended to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened or was decided, in seconds since 1970. `number` counts the lines from 1 on."""

    number: int
    at: float
    kind: str
    data: Mapping[str, Any]


@dataclass
class Journal:
    """The events of the file at `path`, and the lines that could not be read, by number.

    A last line that a crash cut off was never an act, because an event is written before it is acted upon: it is
    dropped. A damaged line in the middle is reported, and the others count.
    """

    path: Path
    events: list[Event]
    damaged: list[int]

    @staticmethod
    def read(path: Path) -> Journal:
        """The journal at `path`; an empty one where there is no file."""
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        events, damaged = [], []
        for position, line in enumerate(lines[:-1], 1):  # what follows the last line break was cut off
            event = _event(line)
            if event:
                events.append(event)
            elif line:
                damaged.append(position)
        return Journal(path, events, damaged)

    def append(self, kind: str, **data: Any) -> Event:
        """Adds one event, and returns when it is on the disk. Only the holder of the sweep's lock may."""
        number = self.events[-1].number + 1 if self.events else 1
        event = Event(number, time.time(), kind, data)
        line = json.dumps({"n": number, "at": event.at, "event": kind, **data}, ensure_ascii=False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as stream:
            stream.truncate(end_of_whole_lines(stream))
            stream.write(f"{line}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())
        self.events.append(event)
        return event


def _event(line: bytes) -> Event | None:
    try:
        record = json.loads(line)
        number, at, kind = int(record.pop("n")), float(record.pop("at")), str(record.pop("event"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Event(number, at, kind, record)


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
