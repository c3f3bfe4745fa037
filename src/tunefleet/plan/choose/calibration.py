"""Calibration: how much finished runs needed of a kind of machine, over what was forecast of them.

A file beside the runs holds the factors. Forecasts that use it name it. Identities know nothing of it, and `auto`
chooses without it, so that a run resumes whatever was learnt since.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tunefleet.base import files, status
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State
from tunefleet.plan.estimate.forecast import Factors, Forecast
from tunefleet.plan.plan import Plan

FILE = "calibration.json"
_LEAST = 3  # steps of a run: the first ones build kernels and fill caches


@dataclass(frozen=True)
class Ratio:
    """Measured over forecast: the median of so many runs, the least and the most."""

    median: float
    least: float
    most: float
    runs: int

    @staticmethod
    def of(ratios: Sequence[float]) -> Ratio:
        """The spread of at least one ratio."""
        return Ratio(round(statistics.median(ratios), 4), round(min(ratios), 4), round(max(ratios), 4), len(ratios))

    @property
    def text(self) -> str:
        """`x 1.08 (0.95 to 1.20 in 7 runs)`."""
        return f"x {self.median:.2f} ({self.least:.2f} to {self.most:.2f} in {self.runs} run{'s' * (self.runs > 1)})"


def calibrate(folder: Path) -> dict[str, dict[str, Ratio]]:
    """Writes what the finished runs in `folder` say, by kind of machine: `memory` of a process, `speed` in tokens/s.

    Raises `ConfigError` where there are no such runs.
    """
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.glob("*/plan.json")):
        kind, measured = _ratios(path.parent)
        for name, ratio in measured.items():
            ratios[kind][name].append(ratio)
    if not ratios:
        raise ConfigError(
            f"plan: --calibrate: {folder} has no finished run of {_LEAST} steps or more with a forecast. "
            "Train one, or name another folder with --outputs."
        )
    spreads = {kind: {name: Ratio.of(values) for name, values in by.items()} for kind, by in ratios.items()}
    files.write_json(
        folder / FILE,
        {kind: {name: asdict(spread) for name, spread in by.items()} for kind, by in spreads.items()},
    )
    return spreads


def calibrated(forecast: Forecast, plan: Plan) -> Forecast:
    """`forecast` with the factors beside the runs of `plan`; as it is where there are none of its kind of machine.

    Raises `ConfigError` for a file that is none of ours.
    """
    path = Path(plan.run_dir).parent / FILE
    if not path.exists():
        return forecast
    try:
        spreads = {name: Ratio(**values) for name, values in files.read_json(path).get(_kind(plan), {}).items()}
        factors = {name: float(spread.median) for name, spread in spreads.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}. Remove it, or write it anew: --calibrate.") from None
    if not spreads:
        return forecast
    shown = ", ".join(f"{name} {spread.text}" for name, spread in spreads.items())
    note = f"calibrated by {path}: {shown}. Without it: remove that file"
    return with_factors(forecast, Factors(factors.get("memory", 1.0), factors.get("speed", 1.0), note))


def with_factors(forecast: Forecast, factors: Factors) -> Forecast:
    """`forecast` as runs were measured: a speed of 0.5 takes twice as long."""
    speed, longer = forecast.speed, 1 / factors.speed
    compute, communication = speed.compute, speed.communication
    if compute is not None and communication is not None:
        speed = replace(
            speed,
            compute=compute * longer,
            communication=communication * longer,
            hidden=speed.hidden * longer,
            offload=speed.offload * longer,
        )
    return replace(forecast, speed=speed, factors=factors)


def _kind(plan: Plan) -> str:
    """The kind of machine that a plan is for: its GPU as plan.machine names it, else this machine's CPUs or GPUs."""
    if plan.layout.device == "cpu":
        return "CPUs"
    machine = plan.config.plan.machine
    return "GPUs" if machine in (None, "this") else str(machine).rsplit("x", 1)[-1]


def _ratios(run_dir: Path) -> tuple[str, dict[str, float]]:
    """The kind of machine of a finished run, and measured over forecast by `memory` and `speed`; empty of any other."""
    paths = RunPaths(run_dir)
    current = status.read(paths.status)
    try:
        plan, steps = Plan.read(run_dir), _steps(paths.metrics)
    except (RunError, OSError, ValueError):
        return "", {}
    if current is None or current.state is not State.FINISHED or plan.expected is None or len(steps) < _LEAST:
        return "", {}
    peak = max(step["memory/peak_gib"] for step in steps)
    rate = statistics.median(step["train/tokens_per_second"] for step in steps[1:])
    expected = {"memory": (peak, plan.expected.peak), "speed": (rate, plan.expected.tokens_per_second)}
    return _kind(plan), {name: measured / forecast for name, (measured, forecast) in expected.items() if forecast}


def _steps(path: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in files.read_bytes(path).splitlines()]
    return [record for record in records if {"memory/peak_gib", "train/tokens_per_second"} <= record.keys()]
