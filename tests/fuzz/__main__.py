"""Fuzz of all inputs: `python -m tests.fuzz --count 100000 --seed 1` reads so many mutants and prints a table.

Each fault is printed with its number, and its mutant is saved below `--save`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz import runner
from tests.fuzz.topics import TOPICS


def main() -> int:
    """The exit code: 1 where there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=1000, help="mutants of all topics together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--topics", nargs="+", default=sorted(TOPICS), choices=sorted(TOPICS))
    parser.add_argument("--save", type=Path, default=Path("fuzz-faults"))
    options = parser.parse_args()
    faults = 0
    print(f"seed {options.seed}")
    for name in options.topics:
        began, count = time.monotonic(), options.count // len(options.topics)
        tally = runner.run(name, options.seed, count)
        counts = ", ".join(f"{number:,} {kind}" for kind, number in sorted(tally.counts.items()))
        print(f"{name:10} {count:>8,} mutants in {time.monotonic() - began:>6.0f} s: {counts}", flush=True)
        for number, outcome in tally.faults.items():
            print(f"  {number}: {outcome}", flush=True)
            folder = options.save / f"{name}-{options.seed}-{number}"
            print(f"    saved: {len(runner.save(name, options.seed, number, folder))} files in {folder}", flush=True)
        faults += len(tally.faults)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
