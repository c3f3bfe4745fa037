"""One file of a folder that commands read is spoiled: its bytes are others, or something else is in its place.

Then a command is called in this process: it must end with a documented exit code, print no traceback and no escape
sequence, and wait for nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import bytes as mutated
from tests.fuzz import mutation
from tunefleet.base.stdio import neutral
from tunefleet.doors import cli

CODES = (0, 1, 2, 130)
_BYTES = ("bytes",) * 12
_OTHERS = ("missing", "folder", "pipe", "device", "link to itself", "no permission")


class Late(BaseException):
    """A command takes too long; no handler of an `Exception` catches this."""


@dataclass(frozen=True)
class Mutant:
    """What was spoiled, and how a command ended with it. `wrong` is empty where all is as it must be."""

    number: int
    file: str
    how: str
    command: str
    code: object
    wrong: str


class Spoiled:
    """The folder `outputs`, of which each mutant has one file spoiled; `of` is in the names of those files.

    The folder is copied back before each mutant; a command may take `seconds`.
    """

    def __init__(self, outputs: Path, commands: Sequence[Sequence[str]], seconds: int = 20, of: str = "") -> None:
        self._outputs, self._commands, self._seconds = outputs, commands, seconds
        self._whole = outputs.with_name("whole-" + outputs.name)
        shutil.copytree(outputs, self._whole, symlinks=True)
        self._names = sorted(
            str(path.relative_to(outputs)) for path in outputs.rglob("*") if path.is_file() and of in path.name
        )

    def mutant(self, seed: int, number: int) -> Mutant:
        """Mutant `number`, and what came of it."""
        draw = random.Random(f"{seed}-{number}")
        name, how = self._spoil(number, draw)
        command = draw.choice(self._commands)
        code, wrong = _call(["--outputs", str(self._outputs), *command], self._seconds)
        return Mutant(number, name, how, " ".join(command), code, wrong)

    def attempt(self, seed: int, number: int, folder: Path) -> tuple[str, str]:
        """The same, as topics say it."""
        made = self.mutant(seed, number)
        if made.wrong:
            return made.file, f"fault of {made.command} with {made.file} ({made.how}): {made.wrong}"
        return made.file, "refused" if made.code else "read"

    def keep(self, seed: int, number: int, folder: Path) -> None:
        """Writes the folder of a mutant into `folder`, unread."""
        self._spoil(number, random.Random(f"{seed}-{number}"))
        shutil.copytree(self._outputs, folder / self._outputs.name, symlinks=True, ignore=_ignore_pipes)

    def _spoil(self, number: int, draw: random.Random) -> tuple[str, str]:
        shutil.rmtree(self._outputs, ignore_errors=True)
        shutil.copytree(self._whole, self._outputs, symlinks=True)
        name = self._names[number % len(self._names)]
        return name, _spoil(self._outputs / name, draw)


def _ignore_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_fifo()]


def _spoil(path: Path, draw: random.Random) -> str:
    """Changes what is in the file, or what is in its place."""
    how = draw.choice((*_BYTES, *_OTHERS))
    if how == "bytes":
        path.write_bytes(draw.choice((mutated.mutant, mutation.mutant))(path.read_bytes(), draw))
        return how
    if how == "no permission":
        path.chmod(0)
        return how
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "link to itself":
        path.symlink_to(path.name)
    return how


def _call(arguments: list[str], seconds: int) -> tuple[object, str]:
    """(exit code, what is wrong) of `tunefleet ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    wrong = ""
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(seconds)
    try:
        with contextlib.redirect_stdout(neutral(out)), contextlib.redirect_stderr(neutral(err)), _no_input():
            cli.main(arguments)
    except SystemExit as error:
        code = error.code or 0
    except Late:
        wrong = f"still waiting after {time.monotonic() - began:.0f} s"
    except BaseException as error:
        wrong = f"{type(error).__name__}: {str(error)[:200]}{_last_place(error)}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    printed = out.getvalue() + err.getvalue()
    if "Traceback (most recent" in printed:
        wrong = wrong or "a traceback"
    if "\x1b" in printed or "\u202e" in printed:
        wrong = wrong or "an escape sequence"
    return code, wrong or ("" if code in CODES else f"exit code {code}")


def _last_place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""


def _late(number: int, frame: object) -> None:
    raise Late


@contextlib.contextmanager
def _no_input() -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO())
    try:
        yield
    finally:
        sys.stdin = before
