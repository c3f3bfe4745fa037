"""Rewinds: the way back to the newest checkpoint, from which the sequences of a refused step are left out."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.base import pulse
from tunefleet.base.status import State
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.config.train import OnRefusal, TrainConfig
from tunefleet.contracts import Engine, Group, RunState
from tunefleet.runs.deciding_metrics import DecidingMetrics
from tunefleet.runs.run_output import RunOutput
from tunefleet.runs.training_clock import TrainingClock
from tunefleet.train.update_refusals import Rewind


def may_rewind(train: TrainConfig) -> bool:
    """Whether a refused update may send the run back."""
    return train.on_non_finite is OnRefusal.REWIND or bool(train.spike_sigma and train.on_spike is OnRefusal.REWIND)


class Rewinds:
    """Brings weights, records and what evaluations decided back to a checkpoint, on all ranks alike."""

    def __init__(
        self,
        group: Group,
        engine: Engine,
        store: CheckpointStore,
        clock: TrainingClock,
        deciding: DecidingMetrics,
        output: RunOutput,
    ) -> None:
        self._group = group
        self._engine = engine
        self._store = store
        self._clock = clock
        self._deciding = deciding
        self._output = output

    def go_back(self, rewind: Rewind, last: RunState) -> RunState:
        """From `last` to the newest checkpoint; returns the state to train from. Collective."""
        pulse.enter("going back")
        saved = self._store.restore(self._engine)
        assert saved is not None, "saved before the first step"
        left_out = tuple(sorted({*saved.left_out, *last.left_out, rewind.step.position}))
        state = replace(saved, left_out=left_out, refused=rewind.refused)
        self._output.note_order(state)
        self._output.trackers.rewind(state.step)
        self._clock.rewind(state.step)
        self._group.barrier()  # every rank reads the evaluations that are left
        self._deciding.resume()
        self._output.write_status(State.RUNNING, state, saved_step=state.step)
        self._print(rewind, state)
        return state

    def _print(self, rewind: Rewind, state: RunState) -> None:
        if self._store.note:
            self._output.console.print_line(self._store.note)
        self._output.console.print_line(
            f"  step {rewind.step.step}: {rewind.step.refusal.reason}: back to step {state.step}, and without its "
            "sequences from now on (batches.jsonl)"
        )
