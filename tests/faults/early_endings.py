"""What ranks do in test_retention.py: a run that stops early, and one that is killed before and goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.runs.training import planned
from tunefleet.base import delivery, status
from tunefleet.contracts import RunState
from tunefleet.engine.group import ProcessGroup
from tunefleet.plan import Plan
from tunefleet.runs import checkpoint_export
from tunefleet.runs.evaluate import open_run
from tunefleet.runs.train import train
from tunefleet.tracking import metrics
from tunefleet.train.early_stopping import EarlyStopping
from tunefleet.train.stop import Reason, Stop

STOPS_AT = 8
KILLED_AT = 5
SETTINGS = ["train.precision=fp32", "train.global_batch=4", "train.max_steps=20"]
SETTINGS += ["evaluation.every=2", "evaluation.generate_rows=0", "checkpoint.every=2", "checkpoint.export=false"]
SETTINGS += ["checkpoint.keep=1", "checkpoint.keep_best=1", "optimizer.lr=0.05", "schedule.warmup=0"]
SETTINGS += ["train.early_stopping.patience=3", "train.early_stopping.min_delta=100"]


def plan_of(folder: Path, name: str, parallel: str = "ddp") -> Plan:
    """The run `name`: whatever its losses are, none is better by so much, and it stops at its fourth evaluation."""
    return planned(folder, f"name={name}", f"parallel={parallel}", *SETTINGS)


def first(folder: Path, argument: Any) -> None:
    """A run to its early end; then another, and every rank is killed before its sixth step."""
    ProcessGroup.destroy = ProcessGroup.barrier  # type: ignore[method-assign]  # DeepSpeed joins once in a process
    train(plan_of(folder, "whole"))
    reason = Stop.reason

    def kill(stop: Stop, state: RunState) -> Reason:
        if state.step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return reason(stop, state)

    Stop.reason = kill  # type: ignore[method-assign]
    train(plan_of(folder, "killed"))


def second(folder: Path, argument: Any) -> dict[str, Any]:
    """The killed run goes on in one process with ZeRO, and its copy, which forgets what was measured: the control."""
    ProcessGroup.destroy = ProcessGroup.barrier  # type: ignore[method-assign]
    train(plan_of(folder, "killed", "zero2"))
    with patch.object(EarlyStopping, "restore", lambda early_stopping, state: None):
        train(plan_of(folder, "forgetful"))
    return _best(plan_of(folder, "killed", "zero2"))


def _best(plan: Plan) -> dict[str, Any]:
    """The best checkpoint of the run as its readers have it."""
    folder = checkpoint_export.export(plan, choice="best")
    run_status = status.read(plan.paths.status)
    _, measured, _ = open_run(plan, "best").measure()
    record = delivery.record(folder)
    return {
        "best": run_status and run_status.best,
        "folder": folder.name,
        "step": record and record["step"],
        "measured": measured,
        "records": {r["step"]: r for r in metrics.evaluations(plan.paths.metrics) if not r.get("final")},
    }
