"""A process that reads mutants of one topic, one after the other, in limited memory and time.

`python -m tests.fuzz.victim TOPIC SEED FIRST END FOLDER` prints a line for each: its sample, and how it ended.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.fuzz.topics import topic

MEMORY = 6 << 30  # bytes of address space
SECONDS = 30.0  # of computing for one mutant


class Hung(BaseException):
    """A mutant takes too long; no handler of an `Exception` catches this."""


def _hung(number: int, frame: object) -> None:
    raise Hung


def main(name: str, seed: str, first: str, end: str, folder: str) -> None:
    """Reads the mutants from `first` up to `end`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    console = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is not ours to read
    os.chdir(folder)
    readers = topic(name)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGVTALRM, _hung)
    for number in range(int(first), int(end)):
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            try:
                sample, outcome = readers.attempt(int(seed), number, Path(scratch))
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(where.filename).name}:{where.lineno}"
                sample, outcome = "", f"fault {type(error).__name__} at {place}: {str(error)[:100]}"
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(number, sample or "-", " ".join(outcome.split()), file=console, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
