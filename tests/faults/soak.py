"""Soak: breaks a run at random until it has finished all the same, and compares what it trained with a quiet run.

`python -m tests.faults.soak --minutes 30 --seed 7` goes round until the time is over, each round with another strategy,
and prints every fault. It ends with an error at the first promise that is broken: weights or losses that differ by a
bit, a run that does not end, a process that is left, a traceback, an exit code without a meaning.
"""

from __future__ import annotations

import argparse
import itertools
import operator
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.soak_faults import BETWEEN_STARTS, WHILE_RUNNING, Fault, Scene, descendants
from tests.stories.commands import metrics, start, status, train

STRATEGIES = {
    "zero2": ["parallel=zero2", "launch.processes=2"],
    "zero3": ["parallel=zero3", "launch.processes=2"],
    "ddp": ["parallel=ddp", "launch.processes=2"],
    "lora": ["parallel=zero1", "launch.processes=2", "adapter=lora"],
}
OVERRIDES = (
    "name=soak",
    "tracking=files",
    "data.max_rows=300",
    "data.validation_rows=6",
    "evaluation.generate_rows=0",
    "evaluation.every=0",
    "model.dropout=0.1",
    "train.micro_batch=1",
    "train.sequence_length=64",
    "checkpoint.every=10",
    "checkpoint.keep=3",
)
TRACEBACK = "Traceback (most recent call last)"
CODES = (0, 1, 4, 5, 130)
"""Exit codes of starts: done, a process was lost, a rank made no progress, the disk is full, interrupted."""
ENDING_SECONDS = 300
STARTS = 200
"""Of one round; a run that is not done after as many makes no progress."""


Moment = Callable[[float], bool]
"""Whether it is time for the fault, asked with the seconds since the start."""


class BrokenPromise(AssertionError):
    """What a run must never do, with the seed and the folder that show it."""


class Soak:
    """A run in `folder` that is broken and started until it is done."""

    def __init__(self, folder: Path, overrides: Sequence[str], dice: random.Random) -> None:
        self._folder, self._overrides, self._dice = folder, overrides, dice
        self.run = folder / "outputs" / "soak"
        """The run directory."""
        self.faults: list[str] = []
        """What was done, in order."""

    def until_done(self, running: Iterator[Fault], between: Iterator[Fault], moments: Iterator[Moment]) -> None:
        """Starts the run again and again, each time with the next fault at the next moment after its start."""
        for fault, moment in itertools.islice(zip(running, moments, strict=False), STARTS):
            if self._start(fault, moment) == 0 and status(self.run)["state"] == "finished":
                return
            self._note(next(between)(Scene(self.run, self._dice)))
        raise BrokenPromise(f"not done after {STARTS} starts")

    def _start(self, fault: Fault, moment: Moment) -> int | None:
        """One start and one fault; the exit code, negative where the launcher was killed."""
        launcher = start(self._folder, *self._overrides)
        processes: set[int] = set()
        began = time.monotonic()
        while launcher.poll() is None and not moment(time.monotonic() - began):
            processes.update(descendants(launcher.pid))
            time.sleep(0.1)
        if launcher.poll() is None:
            processes.update(descendants(launcher.pid))
            self._note(fault(Scene(self.run, self._dice, launcher)))
        self._expect_end(launcher, processes)
        return launcher.returncode

    def _expect_end(self, launcher: subprocess.Popen[bytes], processes: set[int]) -> None:
        """All processes leave, and what was printed is fit for people."""
        try:
            launcher.wait(timeout=ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            raise BrokenPromise(f"still there after {ENDING_SECONDS} s: {self._story()}") from None
        deadline = time.monotonic() + 60
        while alive := [process for process in processes if Path(f"/proc/{process}/exe").exists()]:
            if time.monotonic() > deadline:
                raise BrokenPromise(f"processes {alive} are left: {self._story()}")
            time.sleep(0.1)
        printed = (self._folder / "output.txt").read_text(errors="replace")
        if TRACEBACK in printed:
            raise BrokenPromise(f"a traceback: {self._story()}\n{printed[-3000:]}")
        if launcher.returncode >= 0 and launcher.returncode not in CODES:
            raise BrokenPromise(f"exit code {launcher.returncode}: {self._story()}\n{printed[-3000:]}")

    def _note(self, fault: str) -> None:
        if fault:
            self.faults.append(fault)
            print(f"  {fault}", flush=True)

    def _story(self) -> str:
        return f"after {self.faults[-3:]} in {self._folder}"


def compare(quiet: Path, broken: Path) -> None:
    """Raises `BrokenPromise` where two runs differ in a bit of a weight, a loss, or in the steps that they have."""
    runs = [folder / "outputs" / "soak" for folder in (quiet, broken)]
    weights = [
        {path.name: path.read_bytes() for path in sorted((run / "export").glob("*.safetensors"))} for run in runs
    ]
    if not weights[0] or weights[0] != weights[1]:
        raise BrokenPromise(f"weights differ: {sorted(weights[0])} of {runs[0]} and {runs[1]}")
    losses = [{r["step"]: r["train/loss"] for r in metrics(run) if "train/loss" in r} for run in runs]
    if not losses[0] or losses[0] != losses[1]:
        raise BrokenPromise(f"losses differ: {losses}")


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A folder on a file system of its own that can be filled; an ordinary one where mounting is not allowed."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
        try:
            yield Path(folder)
        finally:
            if mounted:
                subprocess.run(["umount", "-l", folder], check=True)


def at_random(dice: random.Random, longest: float) -> Iterator[Moment]:
    """Any moment of the first `longest` seconds."""
    while True:
        yield partial(operator.le, dice.uniform(0, longest))


def shuffled(faults: Sequence[Fault], dice: random.Random) -> Iterator[Fault]:
    """All faults in a random order, then all again in another one."""
    while True:
        yield from dice.sample(list(faults), len(faults))


@dataclass(frozen=True)
class Faults:
    """Those of all rounds: none comes again before the others were drawn, also where a round has room for two."""

    running: Iterator[Fault]
    between: Iterator[Fault]


def round_of(folder: Path, strategy: str, steps: int, dice: random.Random, faults: Faults) -> int:
    """One run of `strategy`, quiet, and one that is broken; they must be equal. Returns the number of faults."""
    overrides = [*OVERRIDES, *STRATEGIES[strategy], f"train.max_steps={steps}"]
    quiet = folder / "quiet"
    quiet.mkdir()
    began = time.monotonic()
    train(quiet, *overrides)
    seconds = time.monotonic() - began
    with small_disk(megabytes=250) as broken:
        soak = Soak(broken, overrides, dice)
        moments = at_random(dice, 0.5 * seconds)  # of a longer time, many runs meet no fault: the start is in it
        soak.until_done(faults.running, faults.between, moments)
        compare(quiet, broken)
    return len(soak.faults)


def main() -> None:
    """Rounds until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of each run")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    dice, ends = random.Random(options.seed), time.monotonic() + 60 * options.minutes
    faults, total = Faults(shuffled(WHILE_RUNNING, dice), shuffled(BETWEEN_STARTS, dice)), 0
    for strategy in itertools.cycle(STRATEGIES):
        with tempfile.TemporaryDirectory() as folder:
            count = round_of(Path(folder), strategy, options.steps, dice, faults)
        total += count
        print(f"{strategy}: {count} faults, and the weights and losses of a quiet run", flush=True)
        if time.monotonic() > ends:
            break
    print(f"seed {options.seed}: {total} faults, everything bit-equal")


if __name__ == "__main__":
    main()
