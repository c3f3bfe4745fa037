"""Trackers of a run: its metrics file, its console, and Weights & Biases where that is switched on."""

from __future__ import annotations

from tunefleet.contracts import Tracker
from tunefleet.plan.plan import Plan
from tunefleet.tracking import wandb_server
from tunefleet.tracking.console import Console
from tunefleet.tracking.metrics import MetricsFile
from tunefleet.tracking.trackers import Trackers
from tunefleet.tracking.wandb import WandbSink


def trackers_of_rank(plan: Plan, rank: int, console: Console, resumed_from: int) -> Trackers:
    """Those of rank 0, from step `resumed_from` on; other ranks have none."""
    if rank != 0:
        return Trackers([])
    trackers: list[Tracker] = [MetricsFile(plan.paths.metrics, resumed_from), console]
    mode = wandb_server.mode(plan.config.tracking.wandb)
    if mode != "disabled":
        trackers.append(WandbSink(plan, mode, console.print_line))
    return Trackers(trackers)
