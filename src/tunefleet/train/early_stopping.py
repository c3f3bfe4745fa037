"""Early stopping: a run stops where evaluations get no better, at the same step whether or not it was interrupted."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tunefleet.plan.paths import validation_splits


class EarlyStopping:
    """Counts evaluations in a row whose `metric` is better by no more than `min_delta` than the best before them.

    Only evaluations on the run's cadence count: others come where a run pauses. Prechelt 1998, "Early Stopping - But
    When?" (the criterion UP_s).
    """

    def __init__(self, metric: str, patience: int | None, min_delta: float) -> None:
        self._metric = metric
        self._patience = patience
        self._min_delta = min_delta
        self._best: float | None = None
        self._best_step = self._step = self._misses = 0

    def observe(self, step: int, evaluation: Mapping[str, float]) -> None:
        """Takes the evaluation at `step`; one that is no number is no better."""
        if self._patience is None:
            return
        value = evaluation.get(self._metric, math.nan)
        self._step = step
        if self._is_better(value):
            self._best, self._best_step, self._misses = value, step, 0
        else:
            self._misses += 1

    @property
    def is_due(self) -> bool:
        """Whether the run is to stop."""
        return self._patience is not None and self._misses >= self._patience

    @property
    def reason(self) -> str:
        """Why it stops."""
        delta = f" by more than {self._min_delta:g}" if self._min_delta else ""
        best = (
            f"the best is {self._best:.4f} at step {self._best_step}" if self._best is not None else "none is a number"
        )
        return (
            f"early stopping at step {self._step}: {self._metric} was no better{delta} in {self._misses} "
            f"evaluation{'s' * (self._misses != 1)}; {best}"
        )

    @property
    def state(self) -> dict[str, float]:
        """What a checkpoint must hold."""
        if self._patience is None:
            return {}
        best = {} if self._best is None else {"best": self._best}
        return {"best_step": self._best_step, "step": self._step, "misses": self._misses, **best}

    def restore(self, state: Mapping[str, float]) -> None:
        """Goes on from what a checkpoint holds; one that was saved before the first evaluation holds nothing."""
        self._best = state.get("best")
        self._best_step, self._step = int(state.get("best_step", 0)), int(state.get("step", 0))
        self._misses = int(state.get("misses", 0))

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value) or self._best is None:
            return math.isfinite(value)
        best = validation_splits.cost(self._metric, self._best)
        return validation_splits.cost(self._metric, value) < best - self._min_delta
