"""How long a person waits: for --help, for composing, for an error, and for the demo's first optimizer step.

    python -m benchmarks.start [--times 5]

Prints the median seconds of each command on this machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "--help": ["--help"],
    "--cfg job": ["--cfg", "job"],
    "a config error": ["optimizer.lr=abc", "train.micro_batch=0"],
}


def main() -> None:
    """Prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    for name, words in COMMANDS.items():
        print(f"{name:<28} {statistics.median(seconds(words) for _ in range(times)):.2f} s")
    for name, cached in (("first step, data not cached", False), ("first step, data cached", True)):
        print(f"{name:<28} {statistics.median(first_step(cached) for _ in range(times)):.2f} s")


def seconds(words: list[str]) -> float:
    """Wall-clock seconds of `python train.py WORDS`."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run([sys.executable, str(ROOT / "train.py"), *words], cwd=folder, capture_output=True)
        return time.perf_counter() - started


def first_step(cached: bool) -> float:
    """Seconds from `python train.py` to the end of the demo's first optimizer step."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train.max_steps=1", "evaluation.generate_rows=0", "tracking=files"]
        if cached:
            _train(folder, [*words, "seed=1"])
        started = time.time()
        _train(folder, [*words, "name=measured"])
        status = Path(folder) / "outputs" / "measured" / "metrics.jsonl"
        first = json.loads(status.read_text().splitlines()[0])
        return float(first["time"]) - started


def _train(folder: str, words: list[str]) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
