"""Trackers of a run: its metrics file, its console, and those of `tracking`, each in a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tunefleet.base import own_code
from tunefleet.contracts import Tracker
from tunefleet.plan.plan import Plan
from tunefleet.tracking import artifacts, background, mlflow, wandb_server
from tunefleet.tracking.background import BackgroundTracker
from tunefleet.tracking.console import Console
from tunefleet.tracking.csv_file import CsvFile
from tunefleet.tracking.metrics import MetricsFile
from tunefleet.tracking.mlflow import MlflowRun
from tunefleet.tracking.own_tracker import OwnTracker
from tunefleet.tracking.tensorboard import TensorboardFiles
from tunefleet.tracking.trackers import Trackers
from tunefleet.tracking.wandb import WandbSink


def trackers_of_rank(plan: Plan, rank: int, console: Console, resumed_from: int) -> Trackers:
    """Those of rank 0, from step `resumed_from` on; other ranks have none."""
    if rank != 0:
        return Trackers([])
    records = MetricsFile(plan.paths.metrics, resumed_from)
    asked_for = list(_asked_for(plan, console.print_line, resumed_from))
    return Trackers([records, console, *asked_for], lambda: _places(plan, asked_for))


def _places(plan: Plan, trackers: Sequence[Tracker]) -> dict[str, str]:
    """Where W&B, TensorBoard and MLflow have the run."""
    places = {}
    for sink in trackers:
        if isinstance(sink, WandbSink):
            places["Weights & Biases"] = sink.address or f"offline; {sink.command}"
    if plan.config.tracking.tensorboard:
        places["TensorBoard"] = f"tensorboard --logdir {os.path.relpath(plan.paths.tensorboard)}"
    if plan.config.tracking.mlflow:
        places["MLflow"] = mlflow.store(plan)
    return places


def _asked_for(plan: Plan, announce: Callable[[str], None], resumed_from: int) -> Iterator[Tracker]:
    """What `tracking` switches on."""
    tracking, paths = plan.config.tracking, plan.paths
    mode = wandb_server.mode(tracking.wandb)
    sending = artifacts.SECONDS_TO_SEND if tracking.artifacts else 0.0
    if mode != "disabled":
        yield WandbSink(plan, mode, announce, max(sending, background.SECONDS_TO_FINISH))
    if tracking.tensorboard:
        yield BackgroundTracker("TensorBoard", lambda: TensorboardFiles(plan, resumed_from))
    if tracking.mlflow:
        yield BackgroundTracker("MLflow", lambda: MlflowRun(plan), max(sending, mlflow.SECONDS_TO_FINISH))
    for name in tracking.own_trackers:
        make = own_code.load(name)  # a name that is not there ends the run before its first step
        yield BackgroundTracker(name, partial(OwnTracker, plan, make))
    if tracking.csv:
        yield BackgroundTracker("CSV", lambda: CsvFile(paths.csv, paths.metrics, resumed_from))
