"""Training loop: steps until there is a reason to stop."""

from __future__ import annotations

from tunefleet.base import pulse
from tunefleet.contracts import Batches, Engine, RunState
from tunefleet.train.hooks import Hooks
from tunefleet.train.stop import Reason, Stop


def fit(
    engine: Engine, batches: Batches, accumulation: int, state: RunState, stop: Stop, hooks: Hooks
) -> tuple[RunState, Reason]:
    """Trains from `state` on; returns the last state and the reason to stop. Raises `NonFiniteLoss`."""
    while not (reason := stop.reason(state)):
        pulse.enter("taking data", state.step + 1)
        micro_batches = batches.take(accumulation)
        pulse.enter("training")
        result = engine.train_step(micro_batches)
        state = state.advanced(result, batches.position)
        pulse.step_done(result.seconds)
        hooks.run(state, result)
    return state, reason
