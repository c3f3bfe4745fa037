"""Board acts: what a page may ask for, each a command of `tunefleet` in a process of its own."""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tunefleet.base import secrets
from tunefleet.base.errors import ConfigError
from tunefleet.base.text import printable

_SHORT = 3.0  # seconds that an answer waits for a command to end
_REMEMBERED = 50  # acts
_OUTPUT = 8000  # bytes of a command's output that are shown
_SETTING = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@-]*=[^\x00-\x1f\x7f]*")
_MOST_SETTINGS = 100
Arguments = Mapping[str, Any]
"""What a request gives an act: JSON."""


def of_run(kind: str, folder: Path, arguments: Arguments) -> list[str]:
    """The words behind `tunefleet` for an act on a run, or on all runs of a grid. Raises `ConfigError`.

    The folder is absolute, so it is neither an option nor another run of that name in the current folder.
    """
    if kind not in ("cancel", "resume", "retry"):
        raise ConfigError(f"{kind}: no act on a run. There are cancel, resume and retry.")
    _expect_only(arguments)
    return [kind, str(folder)]


def of_sweep(kind: str, folder: Path, arguments: Arguments) -> list[str]:
    """The words behind `tunefleet` for an act on a sweep. Raises `ConfigError` for what the act does not take."""
    if kind not in _OF_SWEEP:
        raise ConfigError(f"{kind}: no act on a sweep. There are {', '.join(_OF_SWEEP)}.")
    return ["sweep", kind, str(folder), *_OF_SWEEP[kind](arguments)]


def _stop(arguments: Arguments) -> list[str]:
    _expect_only(arguments, "trial")
    return [] if arguments.get("trial") is None else [_trial(arguments)]


def _retry(arguments: Arguments) -> list[str]:
    _expect_only(arguments, "trial")
    return [] if arguments.get("trial") is None else [_trial(arguments)]


def _resume(arguments: Arguments) -> list[str]:
    _expect_only(arguments, "trial")
    return [_trial(arguments)]


def _clone(arguments: Arguments) -> list[str]:
    _expect_only(arguments, "trial", "settings", "warm")
    if not isinstance(arguments.get("warm", False), bool):
        raise ConfigError("warm: is true or false.")
    return [_trial(arguments), *_settings(arguments), *(["--warm"] if arguments.get("warm") else [])]


def _extend(arguments: Arguments) -> list[str]:
    _expect_only(arguments, "trials", "gpu_hours", "in_flight", "settings")
    limits = {name: _number(name, value) for name, value in arguments.items() if name in _LIMITS}
    return [*_settings(arguments), *(f"--{name.replace('_', '-')}={number}" for name, number in limits.items())]


_LIMITS: Mapping[str, type] = {"trials": int, "gpu_hours": float, "in_flight": int}
_OF_SWEEP: Mapping[str, Callable[[Arguments], list[str]]] = {
    "stop": _stop,
    "clone": _clone,
    "extend": _extend,
    "retry": _retry,
    "resume": _resume,
}


def _expect_only(arguments: Arguments, *names: str) -> None:
    unknown = [name for name in arguments if name not in names]
    if unknown:
        raise ConfigError(f"{unknown[0]}: this act takes {', '.join(names) or 'nothing'}.")


def _trial(arguments: Arguments) -> str:
    number = arguments.get("trial")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigError(f"trial: {number!r} is no number of a trial.")
    return str(number)


def _number(name: str, value: Any) -> str:
    is_number = isinstance(value, (int, _LIMITS[name])) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{name}: {value!r} is not a number above 0.")
    return str(value)


def _settings(arguments: Arguments) -> list[str]:
    """`key=value` as typed for train.py; nothing that a command could take for an option."""
    texts = arguments.get("settings", [])
    if not isinstance(texts, list) or len(texts) > _MOST_SETTINGS:
        raise ConfigError(f"settings: is a list of at most {_MOST_SETTINGS} texts key=value.")
    bad = [text for text in texts if not (isinstance(text, str) and _SETTING.fullmatch(text))]
    if bad:
        raise ConfigError(f"{bad[0]!r}: a setting is key=value, such as optimizer.lr=1e-5.")
    return texts


@dataclass(frozen=True)
class Act:
    """One command that was started. `exit_code` is None while it goes on; `output` is the end of what it printed."""

    number: int
    target: str
    command: str
    started: float
    exit_code: int | None
    output: str


@dataclass
class _Started:
    number: int
    target: str
    arguments: Sequence[str]
    at: float
    process: subprocess.Popen[bytes]
    output: IO[bytes]


class Acts:
    """The commands that this board started, for runs of `outputs`; they go on when the board ends."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._started: list[_Started] = []
        self._numbers = itertools.count(1)
        self._turn = threading.Lock()

    def start(self, target: str, arguments: Sequence[str]) -> Act:
        """Starts `tunefleet ARGUMENTS` for the run or sweep `target`, and waits a moment for its end.

        Raises `ConfigError` where the same one goes on already.
        """
        with self._turn:
            if any(act.arguments == list(arguments) and act.process.poll() is None for act in self._started):
                raise ConfigError(f"{target}: the same command is being done already.")
            started = self._begin(target, list(arguments))
        with suppress(subprocess.TimeoutExpired):  # trains, or exports: its end is in the list of acts
            started.process.wait(_SHORT)
        return _act(started)

    def acts(self) -> list[Act]:
        """The last ones, the newest first."""
        with self._turn:
            return [_act(started) for started in reversed(self._started)]

    def unfinished(self) -> list[Act]:
        """Those that go on."""
        return [act for act in self.acts() if act.exit_code is None]

    def close(self) -> None:
        """Lets go of what the commands print; they go on."""
        with self._turn:
            for act in self._started:
                act.output.close()
            self._started.clear()

    def _begin(self, target: str, arguments: list[str]) -> _Started:
        output = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "tunefleet", "--outputs", str(self._outputs), *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        started = _Started(next(self._numbers), target, arguments, time.time(), process, output)
        ended = [act for act in self._started if act.process.poll() is not None]
        for act in ended[: max(0, len(self._started) + 1 - _REMEMBERED)]:
            act.output.close()
            self._started.remove(act)
        self._started.append(started)
        return started


def _act(started: _Started) -> Act:
    descriptor = started.output.fileno()  # the command writes at the same place: nothing here may move it
    content = os.pread(descriptor, _OUTPUT, max(0, os.fstat(descriptor).st_size - _OUTPUT))
    text = printable(secrets.redacted(content.decode("utf-8", "replace")))
    command = " ".join(["tunefleet", *started.arguments])
    return Act(started.number, started.target, command, started.at, started.process.poll(), text.strip())
