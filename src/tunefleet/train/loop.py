"""Training loop: steps until there is a reason to stop."""

from __future__ import annotations

import time
from dataclasses import replace

from tunefleet.base import pulse
from tunefleet.contracts import Batches, Engine, RunState
from tunefleet.engine.step_parts import part
from tunefleet.train.hooks import Hooks
from tunefleet.train.spikes import Spikes
from tunefleet.train.stop import Reason, Stop
from tunefleet.train.update_refusals import Refusals


def fit(
    engine: Engine,
    batches: Batches,
    accumulation: int,
    state: RunState,
    stop: Stop,
    hooks: Hooks,
    spikes: Spikes,
    refusals: Refusals,
) -> tuple[RunState, Reason]:
    """Trains from `state` on; returns the last state and the reason to stop. Raises what `Refusals` raises."""
    spikes.resume(state)
    ended = time.perf_counter()
    while not (reason := stop.reason(state)):
        pulse.enter("taking data", state.step + 1)
        began = time.perf_counter()
        with part("data wait"):
            micro_batches = batches.take(accumulation)
        waited = time.perf_counter() - began
        pulse.enter("training")
        result = engine.train_step(micro_batches, spikes.refusal)
        result = replace(result, data_seconds=waited, wall_seconds=time.perf_counter() - ended)
        state = spikes.remember(state.advanced(result, batches.position), result)
        pulse.step_done(result.seconds)
        refusals.settle(state, result)
        hooks.run(state, result)
        ended = time.perf_counter()  # evaluations and saves are no part of a step
    return state, reason
