"""Runs the mutants of a topic in a process of their own, which is started again when one of them ends it."""

from __future__ import annotations

import queue
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.mutation import PLANTED
from tests.fuzz.topics import topic
from tests.ranks import ROOT

WAIT = 240.0  # seconds without a word, of start-up too, on a machine that is shared


@dataclass
class Tally:
    """How the mutants of a topic ended, and the faults by their number."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, outcome: str) -> None:
        """Counts one."""
        kind = outcome.split()[0]
        self.counts[kind] += 1
        if kind not in ("read", "refused"):
            self.faults[number] = outcome


def run(name: str, seed: int, count: int) -> Tally:
    """Reads `count` mutants of the topic."""
    tally, number = Tally(), 0
    with tempfile.TemporaryDirectory() as folder:
        while number < count:
            for outcome in _outcomes(name, seed, number, count, folder):
                tally.add(number, "code was run" if (Path(folder) / PLANTED).exists() else outcome)
                (Path(folder) / PLANTED).unlink(missing_ok=True)
                number += 1
    return tally


def save(name: str, seed: int, number: int, folder: Path) -> list[Path]:
    """The files of one mutant, written into `folder` without being read."""
    folder.mkdir(parents=True, exist_ok=True)
    topic(name).keep(seed, number, folder)
    return [path for path in folder.rglob("*") if path.is_file()]


def _outcomes(name: str, seed: int, first: int, end: int, folder: str) -> Iterator[str]:
    """What a process says of each mutant; the one that ends it, or at which it falls silent, is the last."""
    command = [sys.executable, "-m", "tests.fuzz.victim", name, str(seed), str(first), str(end), folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines: queue.Queue[str | None] = queue.Queue()
        errors: list[str] = []
        readers = [
            threading.Thread(target=lambda: [*map(lines.put, process.stdout or ()), lines.put(None)]),
            threading.Thread(target=lambda: errors.extend(process.stderr or ())),
        ]
        for reader in readers:
            reader.start()
        try:
            for _ in range(first, end):
                line = lines.get(timeout=WAIT)
                if line is None:
                    yield f"crash {process.wait()}: {' '.join(errors)[-300:]}"
                    break
                yield line.split(maxsplit=2)[2].strip()
        except queue.Empty:
            process.kill()
            yield f"hang for {WAIT:.0f} s"
        for reader in readers:
            reader.join()
