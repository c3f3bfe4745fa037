"""Grid of runs (`-m`): plans every point before the first one starts, then runs them, then a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from tunefleet.base import status, sweep_requests, sweeps
from tunefleet.base.errors import DONE, FAILED, INTERRUPTED, ConfigError, RunError
from tunefleet.base.sweeps import SweepPoint
from tunefleet.config import RunConfig
from tunefleet.doors import unchanged
from tunefleet.doors.start import is_done, save_for_later, start
from tunefleet.doors.submit import expect_submittable, send, submit
from tunefleet.launch import parallel_runs
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.choose import fit_check
from tunefleet.plan.processes.slots import Share, share
from tunefleet.plan.processes.slurm_job import expected
from tunefleet.plan.writable import expect_writable
from tunefleet.sweep.grid_point import Point
from tunefleet.sweep.grid_table import table

T = TypeVar("T")


def run(configs: Sequence[RunConfig | ConfigError], overrides: Sequence[Sequence[str]]) -> int:
    """As `run_points`, for those who want the exit code alone."""
    return run_points(configs, overrides)[0]


def run_points(
    configs: Sequence[RunConfig | ConfigError], overrides: Sequence[Sequence[str]]
) -> tuple[int, list[Path]]:
    """Runs all points, as jobs or here, several at once where there is room; none that fails stops the others.

    `configs` are what `compose.typed_points` makes of `overrides`. Those that are paused or pruned train on to their
    ends. Returns the exit code, and the run directories. Raises `ConfigError` with the complaints of all points, before
    one starts.
    """
    points, machine_share = _planned(configs, overrides)
    return _run(points, machine_share), [point.plan.paths.root for point in points]


def _run(points: Sequence[Point], machine_share: Share) -> int:
    plans = [point.plan for point in points]
    if plans[0].job and plans[0].config.launch.dry_run:
        return submit(plans)
    for point in points:
        point.plan = unchanged.recorded(point.plan)  # points wait for each other
    if plans[0].job:
        expect_submittable([point.plan for point in points])
    for point in points:
        sweep_requests.withdraw(point.plan.paths)
        save_for_later(point.plan)
    sweep = _record(points)
    return send([point.plan for point in points], sweep) if plans[0].job else _run_here(points, machine_share)


def resume(plans: Sequence[Plan]) -> int:
    """Starts saved plans of this machine again, as many at once as their settings allow; returns the exit code."""
    machine_share = share(plans[0].config.launch, _free(Machine.this()), len(plans))
    names = _names([plan.overrides for plan in plans])
    points = [
        Point(f"[{number}/{len(plans)}]", name or plan.name, plan.overrides, plan, is_done)
        for number, (name, plan) in enumerate(zip(names, plans, strict=True), 1)
    ]
    return _run_here(points, machine_share)


def _run_here(points: Sequence[Point], machine_share: Share) -> int:
    _forget_cancellations(points)
    interrupted = (
        parallel_runs.run(points, machine_share)
        if machine_share.slots > 1
        else _one_by_one(points, machine_share.machine)
    )
    print("\n" + table(points))
    codes = [point.code for point in points]
    return INTERRUPTED if interrupted or INTERRUPTED in codes else FAILED if any(codes) else DONE


def _free(machine: Machine) -> Machine:
    if machine.world_size:
        raise ConfigError(
            f"-m: a grid starts its own processes, and {machine.launcher} has started {machine.world_size} already. "
            f"Start the grid without {machine.launcher}, or each point by itself without -m."
        )
    return machine


def _planned(
    configs: Sequence[RunConfig | ConfigError], overrides: Sequence[Sequence[str]]
) -> tuple[list[Point], Share]:
    """All points, each for its share of the machine. Raises `ConfigError` with the complaints of all."""
    complaints: list[str] = []
    machine_share = _collect(partial(_machine_share, configs), complaints) or Share(1, Machine())
    points = []
    for number, (config, name, point) in enumerate(zip(configs, _names(overrides), overrides, strict=True), 1):
        plan = _collect(partial(_plan, config, machine_share.machine, point), complaints, f"[{name}] ")
        points += [Point(f"[{number}/{len(overrides)}]", name, point, plan, is_done)] if plan else []
    if not complaints and len({point.plan.run_dir for point in points}) < len(points):
        complaints.append(
            "two points of the grid have the same run directory: leave name= out, or vary it. "
            "The split of a batch over micro-batches and processes makes no other run."
        )
    if len({_one_for_all(point.plan) for point in points}) > 1:
        complaints.append(
            "launch: name, access, snapshot, wait and dry_run are one for all points, and so is output_dir. Make "
            "several grids of it."
        )
    if complaints:
        raise ConfigError(*complaints)
    return points, machine_share


def _one_for_all(plan: Plan) -> tuple[object, ...]:
    launch = plan.config.launch
    return launch.name, launch.access, launch.snapshot, launch.wait, launch.dry_run, plan.paths.root.parent


def _names(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Of each point the overrides that not every point has; of a single one all."""
    common = set(overrides[0]).intersection(*overrides[1:]) if len(overrides) > 1 else set()
    return [" ".join(override for override in point if override not in common) for point in overrides]


def _plan(config: RunConfig | ConfigError, machine: Machine, overrides: Sequence[str]) -> Plan:
    if isinstance(config, ConfigError):
        raise config
    plan = make(config, machine, overrides)
    fit_check.expect_fit(plan, machine)
    expect_writable(plan)
    return plan


def _machine_share(configs: Sequence[RunConfig | ConfigError]) -> Share | None:
    """Room for all points on this machine, as the first of them asks for it that can be read; jobs need none."""
    first = next((config for config in configs if isinstance(config, RunConfig)), None)
    if first is None or expected(first.launch):
        return None
    return share(first.launch, _free(Machine.this()), len(configs))


def _collect(decide: Callable[[], T], complaints: list[str], prefix: str = "") -> T | None:
    try:
        return decide()
    except ConfigError as error:
        complaints += [f"{prefix}{complaint}" for complaint in error.complaints]
        return None


def _record(points: Sequence[Point]) -> str:
    """Writes which runs belong together, so that later commands find them by the name that it returns."""
    sweep = sweeps.sweep([SweepPoint(tuple(point.overrides), point.plan.run_dir) for point in points])
    sweeps.write(Path(points[0].plan.run_dir).parent, sweep)
    print(f"sweep  {sweep.name}", flush=True)
    return sweep.name


def _forget_cancellations(points: Sequence[Point]) -> None:
    """Those of earlier starts; one that comes from now on keeps a point from starting."""
    for point in points:
        run_status = status.read(point.plan.paths.status)
        if run_status is None or run_status.state.final:
            point.plan.paths.cancelled.unlink(missing_ok=True)


def _one_by_one(points: Sequence[Point], machine: Machine) -> bool:
    """Each in this process, on this console. An interrupted point ends the grid; returns whether one did."""
    for point in points:
        print(f"\n{point.number} {point.name}", flush=True)
        if point.withdrawn():
            continue
        try:
            point.code = start(point.plan, machine)
        except (RunError, OSError) as error:
            point.refuse(error)
            print(f"tunefleet: {error}", file=sys.stderr)
        if point.code == INTERRUPTED:
            return True
    return False
