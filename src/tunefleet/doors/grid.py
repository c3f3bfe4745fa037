"""A grid of runs (`-m`): plans every point before the first one starts, then runs them, then a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from tunefleet.base import status, text
from tunefleet.base.errors import DONE, FAILED, INTERRUPTED, ConfigError, RunError
from tunefleet.doors.compose import typed
from tunefleet.doors.start import start
from tunefleet.plan import Machine, Plan, make


@dataclass(frozen=True)
class Point:
    """One run of the grid, and what the person typed for it."""

    words: Sequence[str]
    plan: Plan


def run(composed: Sequence[DictConfig], words: Sequence[Sequence[str]]) -> int:
    """Runs all points, one after another; a point that fails does not stop the others. Returns the exit code."""
    machine = Machine.this()
    points = _plan(composed, words, machine)
    codes = []
    for number, point in enumerate(points, 1):
        print(f"\n[{number}/{len(points)}] {' '.join(point.words)}", flush=True)
        codes.append(_run(point, machine))
        if codes[-1] == INTERRUPTED:
            break
    print("\n" + table(points))
    return INTERRUPTED if INTERRUPTED in codes else FAILED if any(codes) else DONE


def table(points: Sequence[Point]) -> str:
    """A line for each point: settings, state, steps, last loss, reason of failure."""
    rows = [("point", "state", "step", "loss", "run")]
    for point in points:
        now = status.read(point.plan.paths.status)
        loss = f"{now.loss:.4f}" if now and now.loss is not None else "-"
        state = now.state.value + (f": {now.reason}" if now.reason else "") if now else "not started"
        rows.append((" ".join(point.words) or "-", state, str(now.step if now else 0), loss, point.plan.name))
    return text.columns(rows)


def _plan(composed: Sequence[DictConfig], words: Sequence[Sequence[str]], machine: Machine) -> list[Point]:
    points: list[Point] = []
    complaints: list[str] = []
    for config, typed_words in zip(composed, words, strict=True):
        try:
            points.append(Point(typed_words, make(typed(config), machine)))
        except ConfigError as error:
            complaints += [f"[{' '.join(typed_words)}] {complaint}" for complaint in error.complaints]
    names = [point.plan.run_dir for point in points]
    if not complaints and len(set(names)) < len(names):
        complaints.append("two points of the grid have the same run directory: leave name= out, or vary it.")
    if complaints:
        raise ConfigError(*complaints)
    return points


def _run(point: Point, machine: Machine) -> int:
    try:
        return start(point.plan, machine)
    except RunError as error:
        print(f"tunefleet: {error}", file=sys.stderr)
        return error.exit_code
