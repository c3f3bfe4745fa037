"""What a rank of test_rungs.py does: whole runs of six steps, with a sweep that pauses and prunes them."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import torch

from tests.runs.training import planned
from tests.tracking.offline_runs import offline_runs
from tunefleet.base import status, sweep_requests
from tunefleet.base.paths import RunPaths
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import Engine, RunState
from tunefleet.engine.group import ProcessGroup, join
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.plan import Plan
from tunefleet.runs.train import train
from tunefleet.tracking import metrics
from tunefleet.train.stop import Stop

STEPS = ["train.max_steps=6", "evaluation.every=null", "checkpoint.every=null"]
STEPS += ["checkpoint.export=false", "evaluation.generate_rows=0"]


_saved_weights: list[str] = []
_save_checkpoint = CheckpointStore.save


def _save(store: CheckpointStore, engine: Engine, state: RunState) -> None:
    """Saves, and remembers what the weights are, bit by bit."""
    digest = hashlib.sha256()
    for _, weight in sorted((engine.weights() or {}).items()):
        digest.update(weight.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    _saved_weights.append(digest.hexdigest())
    _save_checkpoint(store, engine, state)


def story(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """An uninterrupted run, one that pauses at step 2 and trains on, one that is pruned; and who agrees on what."""
    ProcessGroup.destroy = ProcessGroup.barrier  # type: ignore[method-assign]  # DeepSpeed joins once in a process
    CheckpointStore.save = _save  # type: ignore[method-assign]
    wandb = "offline" if os.environ["WORLD_SIZE"] == "1" else "disabled"  # seconds for each start
    whole = planned(folder, "name=whole", *STEPS, *overrides)
    paused = planned(folder, "name=paused", f"tracking.wandb={wandb}", *STEPS, *overrides)
    sweep_requests.set_rung(paused.paths, 2)
    report = {"whole": _trained(whole), "at the rung": _trained(paused), "at the rung again": _trained(paused)}
    sweep_requests.set_rung(paused.paths, 6)
    report["at the end"] = _trained(paused)
    pruned = planned(folder, "name=pruned", *STEPS, *overrides, "train.max_steps=1000")
    _prune_later(pruned.paths)
    report["pruned"] = _trained(pruned)
    return report | {"reasons": _reasons(folder / "reasons"), "sent": _sent(paused)}


def _trained(plan: Plan) -> dict[str, Any]:
    """How a start of the run ended, and what it left."""
    code = train(plan)
    now = status.read(plan.paths.status)
    assert now
    return {
        "code": code,
        "state": now.state.value,
        "cause": now.cause.value,
        "reason": now.reason,
        "step": now.step,
        "saved": now.saved_step,
        "tokens": now.tokens,
        "seconds": now.seconds,
        "metrics": metrics.read(plan.paths.metrics),
        "checkpoints": sorted(path.name for path in plan.paths.checkpoints.glob("step-*")),
        "weights": _saved_weights[-1],
    }


def _sent(plan: Plan) -> list[dict[str, Any]]:
    """What Weights & Biases gets of each start: the run's id and its summary."""
    return [{"id": run.id, **run.summary} for run in offline_runs(plan.paths.root)]


def _prune_later(run: RunPaths) -> None:
    """Writes the prune file once the run has logged its second step, as a driver would."""

    def watch() -> None:
        while len(metrics.read(run.metrics)) < 2:
            time.sleep(0.01)
        sweep_requests.prune(run, "worse than the median\nof 9 trials")

    if os.environ["RANK"] == "0":
        threading.Thread(target=watch, daemon=True).start()


def _reasons(folder: Path) -> dict[str, str]:
    """Why to stop where only the last rank sees the prune file yet: agreed, and as each rank alone would decide."""
    group = join()
    run = RunPaths(folder / os.environ["RANK"])
    run.root.mkdir(parents=True, exist_ok=True)
    if group.rank == group.size - 1:
        sweep_requests.prune(run, "why")
    state = RunState(step=3)
    reasons = {
        "agreed": Stop(6, run, group).reason(state).name,
        "alone": Stop(6, run, SingleProcess()).reason(state).name,
    }
    group.destroy()
    return reasons
