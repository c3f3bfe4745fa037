"""Chosen checkpoint of a run: its last, its best by `checkpoint.metric`, or that of a step."""

from __future__ import annotations

from tunefleet.base.errors import RunError
from tunefleet.checkpoint import find_checkpoint
from tunefleet.checkpoint.find_checkpoint import Checkpoint
from tunefleet.checkpoint.retention import ranked
from tunefleet.checkpoint.saved_checkpoints import saved_checkpoints
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.plan.plan import Plan
from tunefleet.runs.checkpoint_files import metric_of
from tunefleet.runs.deciding_metrics import evaluations

LAST = "last"
BEST = "best"


def step_of(plan: Plan, choice: str) -> int:
    """The step that `best` or a number stands for. Raises `RunError` where no checkpoint was measured."""
    if choice != BEST:
        return int(choice)
    metric = metric_of(plan, plan.config.checkpoint.metric)
    saved = saved_checkpoints(plan.paths.checkpoints, metric, evaluations(plan))
    if best := ranked(saved):
        return best[0].step
    steps = ", ".join(str(checkpoint.step) for checkpoint in saved) or "none"
    raise RunError(
        f"{plan.paths.checkpoints}: {metric} was measured at no step that is saved there (steps {steps}). Choose one "
        "with --checkpoint STEP; a run with checkpoint.keep_best=1 saves its best evaluations."
    )


def verified(plan: Plan, step: int) -> Checkpoint:
    """The checkpoint of `step`. Raises `RunError` where it is not there, or not as it was saved."""
    return find_checkpoint.of_step(plan.paths.checkpoints, step, plan.identity, SingleProcess(), plan.trajectory)
