"""What asynchronous successive halving saves: the steps of `sweeps=lr_asha` beside those of its whole grid.

    python -m benchmarks.halving [--seeds 0,1,2] [--folder FOLDER] [overrides ...]

Trains all 27 points to the end, then searches them once for each seed of the sampler, each in a folder of its own, so
that nothing is taken over. Prints the winner of each and its steps as a share of the grid's: about half an hour on
2 CPU cores. The same folder again goes on where it was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tunefleet.base.sweeps import SweepPaths
from tunefleet.launch.project import ROOT
from tunefleet.sweep import leaderboard, sweep_record
from tunefleet.sweep.sweep_record import SweepRecord

_WHOLE_GRID = ("sweep.sampler.name=grid", "sweep.pruner.name=none")


def main() -> None:
    """Prints a line for the grid and one for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--folder", type=Path, default=Path("outputs/halving"))
    args, overrides = parser.parse_known_args()
    folder = args.folder.resolve()
    grid = searched(folder / "grid", folder / "cache", [*_WHOLE_GRID, *overrides])
    print(f"grid: {_winner(grid)}, {steps(grid):,} steps")
    for seed in args.seeds.split(","):
        search = searched(folder / f"asha-{seed}", folder / "cache", [f"sweep.sampler.seed={seed}", *overrides])
        print(f"seed {seed}: {_winner(search)}, {steps(search):,} steps, {steps(search) / steps(grid):.0%}", flush=True)


def searched(outputs: Path, cache: Path, overrides: list[str]) -> SweepRecord:
    """The sweep in `outputs` at its end."""
    words = ["-m", "sweeps=lr_asha", f"output_dir={outputs}", f"data.cache={cache}", *overrides]
    subprocess.run([sys.executable, str(ROOT / "train.py"), *words], check=True, stdout=sys.stderr)
    (folder,) = (outputs / "sweeps").iterdir()
    return sweep_record.read(SweepPaths(folder))


def steps(record: SweepRecord) -> int:
    """The optimizer steps of all its trials."""
    return int(sum(trial.measured.get("steps", 0) for trial in record.study.trials.values()))


def _winner(record: SweepRecord) -> str:
    row = leaderboard.winner(record.study, record.objectives)
    assert row is not None
    assert row.trial.result is not None
    return f"{row.trial.name} with {row.trial.result.means[0]:.4f}"


if __name__ == "__main__":
    main()
