"""What it costs to compose and plan the points of a grid: CPU seconds of this process, and its peak memory.

    python -m benchmarks.points [--points 10000]

The points differ in two groups of settings, in the learning rate and in the seed; all plans are held at once, as
`train.py -m` holds them. Nothing is written and nothing starts.
"""

from __future__ import annotations

import argparse
import resource
import time

from tunefleet.config import RunConfig
from tunefleet.doors import compose
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.choose import fit_check
from tunefleet.plan.writable import expect_writable

_CHOICES = ["parallel=ddp,zero1", "optimizer=adamw,lion"]
_SEEDS = 5
_A_RATE = 2 * 2 * _SEEDS  # points of one learning rate


def main() -> None:
    """Prints a line for each half of the work, and one for both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000, help="rounded up to a multiple of 20")
    rates = -(-parser.parse_args().points // _A_RATE)
    started = time.process_time()
    grid = compose.grid([*_CHOICES, f"seed=range(0,{_SEEDS})", "optimizer.lr=" + ",".join(map(_rate, range(rates)))])
    composed = time.process_time()
    machine = Machine.this()
    plans = [plan(overrides, point, machine) for overrides, point in grid]
    planned = time.process_time()
    for name, seconds in (("composing", composed - started), ("planning", planned - composed)):
        share = seconds / (planned - started)
        print(f"{name:<10} {seconds:6.1f} s  {share:4.0%}  {1000 * seconds / len(plans):.2f} ms a point")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(plans)} points: {planned - started:.1f} s of CPU, {peak:.0f} MiB of memory at the peak")


def plan(overrides: list[str], point: RunConfig | Exception, machine: Machine) -> Plan:
    """The plan of one point, checked as before a start."""
    if isinstance(point, Exception):
        raise point
    plan = make(point, machine, overrides)
    fit_check.expect_fit(plan, machine)
    expect_writable(plan)
    return plan


def _rate(number: int) -> str:
    return f"{number + 1}e-6"


if __name__ == "__main__":
    main()
