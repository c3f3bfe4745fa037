"""Deciding metrics of a run: which evaluations are saved as its best, and when it stops early."""

from __future__ import annotations

from collections.abc import Mapping

from tunefleet.checkpoint.retention import ranked
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import Group
from tunefleet.plan.paths import validation_splits
from tunefleet.plan.plan import Plan
from tunefleet.runs.checkpoint_files import metric_of
from tunefleet.runs.run_summary import split_metrics
from tunefleet.tracking import metrics
from tunefleet.train.early_stopping import EarlyStopping


class DecidingMetrics:
    """What evaluations decide, in every rank alike; checkpoints hold what they need."""

    def __init__(self, plan: Plan, group: Group, store: CheckpointStore) -> None:
        settings = plan.config.train.early_stopping
        self._plan = plan
        self._group = group
        self._store = store
        self._metric = metric_of(plan, plan.config.checkpoint.metric)
        self.early_stopping = EarlyStopping(metric_of(plan, settings.metric), settings.patience, settings.min_delta)

    def resume(self) -> None:
        """Takes over what the checkpoint that was restored knows, and what was measured after a save."""
        self.early_stopping.restore(self._store.early_stopping)
        for step, evaluation in evaluations(self._plan).items():
            self._store.measured(step, evaluation)

    def measured(self, step: int, evaluation: Mapping[str, float]) -> None:
        """Takes what was measured at `step`, on the cadence or not."""
        self._store.measured(step, evaluation)

    def catch_up(self, step: int) -> None:
        """Takes the evaluation on the cadence at `step`, where the checkpoint was saved before it was made."""
        evaluation = evaluations(self._plan).get(step)
        if evaluation is not None and self.early_stopping.state.get("step", 0) < step:
            self.early_stopping.observe(step, evaluation)
            self._store.early_stopping = self.early_stopping.state

    def is_to_be_saved(self, step: int, evaluation: Mapping[str, float]) -> bool:
        """Takes an evaluation on the cadence; whether it is among the best, which are saved. Collective."""
        self.early_stopping.observe(step, evaluation)
        self._store.early_stopping = self.early_stopping.state
        return self._store.is_best_due(step)

    def best(self) -> dict[str, float]:
        """{"step": of the best checkpoint that is there, metric: its value}; empty where none was measured."""
        for checkpoint in ranked(self._store.saved) if self._group.rank == 0 else ():
            assert checkpoint.cost is not None
            return {"step": checkpoint.step, self._metric: validation_splits.cost(self._metric, checkpoint.cost)}
        return {}

    def tidy(self, step: int, evaluation: Mapping[str, float]) -> dict[str, float]:
        """Takes the last evaluation, which comes after the last save; returns the best. Some may go then."""
        self._store.measured(step, evaluation)
        self._store.tidy()
        return self.best()


def evaluations(plan: Plan) -> dict[int, dict[str, float]]:
    """What metrics.jsonl holds of evaluations, by step."""
    return {record["step"]: split_metrics(record) for record in metrics.evaluations(plan.paths.metrics)}
