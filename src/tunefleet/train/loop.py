"""Training loop: steps until there is a reason to stop."""

from __future__ import annotations

from tunefleet.contracts import Batches, Engine, RunState
from tunefleet.train.hooks import Hooks
from tunefleet.train.stop import Reason, Stop


def fit(
    engine: Engine, batches: Batches, accumulation: int, state: RunState, stop: Stop, hooks: Hooks
) -> tuple[RunState, Reason]:
    """Trains from `state` on; returns the last state and the reason to stop. Raises `NonFiniteLoss`."""
    while not (reason := stop.reason(state)):
        result = engine.train_step(batches.take(accumulation))
        state = state.advanced(result, batches.position)
        hooks.run(state, result)
    return state, reason
