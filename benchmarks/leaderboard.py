"""How long `tunefleet sweep top` takes over a sweep of many trials.

    python -m benchmarks.leaderboard [--trials 10000] [--times 3]

Writes a synthetic journal with the real journal's code, in a folder of its own: random search with three rungs, of
which two thirds of the trials are pruned. Prints the CPU seconds of the whole command, the start of Python included.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from tunefleet.base import files
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.load import dump
from tunefleet.config.sweep import PrunerConfig, PrunerName, SweepConfig
from tunefleet.sweep.journal import Journal

_MEASURED = {"steps": 90, "tokens": 184320, "tokens_per_second": 9000.0, "gpu_hours": 0.01, "restarts": 0}


def main() -> None:
    """Prints a line for each way to show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written = write_sweep(Path(folder) / "outputs", args.trials)
        size = written.journal.stat().st_size / 2**20
        print(f"{args.trials:,} trials, a journal of {size:.1f} MiB")
        for options in ([], ["--all"], ["--sort", "tokens_per_second"], ["--json"], ["--csv"]):
            command = [sys.executable, "-m", "tunefleet", "sweep", "top", written.root.name, *options]
            seconds = statistics.median(cpu_seconds(command, Path(folder)) for _ in range(args.times))
            print(f"{' '.join(['top', *options]):<28} {seconds:.2f} s of CPU", flush=True)


def cpu_seconds(command: list[str], folder: Path) -> float:
    """CPU seconds of a command, its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=dict(os.environ), check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_sweep(outputs: Path, trials: int, name: str = "synthetic", seed: int = 0) -> SweepPaths:
    """A sweep that is over, of `trials` trials, of which the best third is trained to the end."""
    paths = SweepPaths(outputs / "sweeps" / name)
    config = SweepConfig(name=name, pruner=PrunerConfig(PrunerName.ASHA))
    files.write_json(paths.definition, {"name": name, "sweep": dump(config)})
    journal, draw = Journal.read(paths.journal), random.Random(seed)
    with mock.patch("os.fsync"):  # the disk is not what is measured
        for number in range(1, trials + 1):
            _append_trial(journal, outputs, number, draw)
        journal.append("closed", reason="all trials have ended")
    return paths


def _append_trial(journal: Journal, outputs: Path, number: int, draw: random.Random) -> None:
    lr, decay = 10 ** draw.uniform(-5, -2), draw.choice(("0.0", "0.01", "0.1"))
    values = {"optimizer.lr": f"{lr:.3g}", "optimizer.weight_decay": decay, "schedule": draw.choice(("cosine", "wsd"))}
    overrides = ["train.max_steps=90", *(f"{key}={value}" for key, value in values.items())]
    run: dict[str, Any] = {"run_dir": str(outputs / f"run-{number}"), "identity": f"{number:064x}"}
    run |= {"overrides": overrides, "total_steps": 90, "world_size": 1, "seed": None}
    loss = 1 + abs(draw.gauss(0, 0.2)) + abs(lr - 1e-3) * 50
    journal.append("drawn", trial=number, values=values, runs=[run], source="sampler")
    for rung in range(2):
        journal.append("started", trial=number, rung=rung, stood={})
        journal.append("rung", trial=number, rung=rung, means=[loss + 1 - rung / 2], spreads=[0.0], measured=_MEASURED)
        if number % 3:
            journal.append("pruned", trial=number, reason=f"not in the best third at rung {rung}", measured=_MEASURED)
            return
        journal.append("promoted", trial=number, rung=rung + 1)
    journal.append("finished", trial=number, means=[loss], spreads=[0.0], measured=_MEASURED)


if __name__ == "__main__":
    main()
