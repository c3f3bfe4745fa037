"""Own callbacks: functions of the user's project that are called after every step, on every rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunefleet.base import files, own_code
from tunefleet.base.paths import RunPaths
from tunefleet.contracts import RunState, StepAct, StepResult
from tunefleet.plan.plan import Plan


def acts(plan: Plan, rank: int) -> dict[str, StepAct]:
    """What `train.callbacks` names, as hooks. Raises `OwnCodeError`."""
    return {name: _act(plan.paths, rank, own_code.load(name)) for name in plan.config.train.callbacks}


def _act(paths: RunPaths, rank: int, callback: Callable[[int, Mapping[str, Any]], Any]) -> StepAct:
    def act(state: RunState, result: StepResult) -> None:
        numbers = {
            "rank": rank,
            "run_dir": Path(paths.root),
            "tokens": state.tokens,
            "loss": result.loss,
            "gradient_norm": result.gradient_norm,
            "lr": result.lr,
            "seconds": result.seconds,
            "skipped": result.skipped,
        }
        if callback(state.step, numbers) is True:
            files.touch(paths.stop)

    return act
