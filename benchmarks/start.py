"""How long a person waits: for Tab, --help, composing, an error, a plan, and for the demo's first optimizer step.

    python -m benchmarks.start [--times 5] [--commands]

Prints a line for each command: the median of its seconds, and the least CPU seconds (user and system, of all its
processes), which say what is to be compared where other work is going on beside. `--commands` leaves the first step
out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAIN = [sys.executable, str(ROOT / "train.py")]
TUNEFLEET = [sys.executable, "-c", "from tunefleet.doors.cli import main; main()"]
COMMANDS = {
    "Tab": [*TUNEFLEET, "completion", "query"],
    "--help": [*TRAIN, "--help"],
    "--cfg job": [*TRAIN, "--cfg", "job"],
    "a config error": [*TRAIN, "optimizer.lr=abc", "train.micro_batch=0"],
    "tunefleet plan": [*TUNEFLEET, "plan"],
    "import hydra alone": [sys.executable, "-c", "import hydra"],
}
Seconds = tuple[float, float]
"""Of the clock, and of computing."""


def main() -> None:
    """Prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--commands", action="store_true", help="without the first step of the demo")
    chosen = parser.parse_args()
    for name, command in COMMANDS.items():
        _print(name, [seconds(command) for _ in range(chosen.times)])
    for name, cached in () if chosen.commands else (("first step", False), ("first step, data cached", True)):
        _print(name, [first_step(cached) for _ in range(chosen.times)])


def _print(name: str, measured: list[Seconds]) -> None:
    wall, cpu = zip(*measured, strict=True)
    print(f"{name:<24} {statistics.median(wall):>6.2f} s {min(cpu):>6.2f} s of CPU", flush=True)


def seconds(command: list[str]) -> Seconds:
    """Of a command in an empty folder; Tab completes `optimizer=`."""
    environment = {**os.environ, "COMP_LINE": "tunefleet train optimizer="}
    with tempfile.TemporaryDirectory() as folder:
        started, before = time.perf_counter(), _cpu()
        subprocess.run(command, cwd=folder, capture_output=True, env=environment)
        return time.perf_counter() - started, _cpu() - before


def _cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def first_step(cached: bool) -> Seconds:
    """From `python train.py` to the end of the demo's first optimizer step; the CPU seconds are of the whole run."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train.max_steps=1", "evaluation.generate_rows=0", "tracking=files"]
        if cached:
            _train(folder, [*words, "seed=1"])
        started, before = time.time(), _cpu()
        _train(folder, [*words, "name=measured"])
        status = Path(folder) / "outputs" / "measured" / "metrics.jsonl"
        first = json.loads(status.read_text().splitlines()[0])
        return float(first["time"]) - started, _cpu() - before


def _train(folder: str, words: list[str]) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
