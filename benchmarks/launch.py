"""How long a person waits for SLURM's side: to submit one run and 200, and for `tunefleet ls` over 1,000.

    python -m benchmarks.launch [--times 3]

Prints the median seconds of each command on this machine. A stand-in takes the place of sbatch and squeue, so the
figures are tunefleet's own time, and no cluster is needed.
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
STAND_INS = {"sbatch": "echo Submitted batch job 7", "squeue": "true", "srun": "true"}
ONE = ["launch=slurm", "launch.nodes=2", "launch.gpus_per_node=8", "parallel=zero3"]
MANY = ["-m", "launch=slurm", "seed=1,2", "optimizer.lr=" + ",".join(f"{i}e-6" for i in range(1, 101))]


def main() -> None:
    """Prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    train = [sys.executable, str(ROOT / "train.py")]
    for name, words in (("submit one run", [*train, *ONE]), ("submit 200 points", [*train, *MANY])):
        print(f"{name:<28} {statistics.median(seconds(words) for _ in range(times)):.2f} s", flush=True)
    for name, command in (("ls, 1,000 runs", "ls"), ("status, 1,000 runs", "status")):
        words = [str(Path(sys.executable).with_name("tunefleet")), command]
        print(f"{name:<28} {statistics.median(seconds(words, runs=1000) for _ in range(times)):.2f} s", flush=True)


def seconds(words: list[str], runs: int = 0) -> float:
    """Wall-clock seconds of a command in a folder of its own with `runs` queued runs."""
    with tempfile.TemporaryDirectory() as folder:
        environment = _with_stand_ins(Path(folder))
        if runs:
            _copies(Path(folder), environment, runs)
        started = time.perf_counter()
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)
        return time.perf_counter() - started


def _with_stand_ins(folder: Path) -> dict[str, str]:
    tools = folder / "tools"
    tools.mkdir()
    for name, line in STAND_INS.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}


def _copies(folder: Path, environment: dict[str, str], runs: int) -> None:
    """One submitted run, and copies of its files under other names."""
    subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *ONE], cwd=folder, env=environment, check=True, capture_output=True
    )
    (plan,) = (folder / "outputs").glob("*/plan.json")
    names = ("plan.json", "status.json", "submission.json")
    texts = {name: (plan.parent / name).read_text() for name in names}
    texts["status.json"] = json.dumps({**json.loads(texts["status.json"]), "state": "running"})
    for number in range(1, runs):
        copy = plan.parent.with_name(f"{plan.parent.name}-{number}")
        copy.mkdir()
        for name, text in texts.items():
            (copy / name).write_text(text)


if __name__ == "__main__":
    main()
