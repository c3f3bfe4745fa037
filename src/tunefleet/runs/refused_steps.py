"""Refused steps: a line in batches.jsonl for each, with the rows of all its micro-batches and their losses."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from typing import Any

from tunefleet.base import files
from tunefleet.contracts import Group, Refusal
from tunefleet.data.store.dataset import Dataset
from tunefleet.plan.plan import Plan
from tunefleet.runs import step_rows
from tunefleet.runs.step_rows import TakenMicroBatch
from tunefleet.train.update_refusals import RefusedStep


class RefusedSteps:
    """Writes what was refused into the run directory, by rank 0."""

    def __init__(self, plan: Plan, group: Group, data: Dataset) -> None:
        self._plan = plan
        self._group = group
        self._data = data

    def record(self, step: RefusedStep) -> None:
        """Appends the step, and it is on the disk. Collective."""
        losses = self._group.gather(list(step.result.micro_losses))
        if self._group.rank:
            return
        micro_batches = step_rows.of_step(self._plan, self._data, step.position)
        record = {
            "step": step.step,
            "position": step.position,
            "reason": step.refusal.reason,
            "kind": _kind(step.refusal),
            "act": step.act.value,
            "time": time.time(),
            "loss": _number(step.result.loss),
            "gradient_norm": _number(step.result.gradient_norm),
            "micro_batches": [_described(micro_batch, losses) for micro_batch in micro_batches],
        }
        with suppress(OSError):  # a full disk must not hide why the run stops
            _append(self._plan.paths.batches, json.dumps(record))


def _described(micro_batch: TakenMicroBatch, losses: list[list[float]]) -> dict[str, Any]:
    """A micro-batch, and the sum of its token losses on each rank that has computed one."""
    number = micro_batch.number
    computed = {str(rank): losses[rank][number] for rank in micro_batch.ranks if number < len(losses[rank])}
    return {**micro_batch.record(), "losses": {rank: _number(loss) for rank, loss in computed.items()}}


def _kind(refusal: Refusal) -> str:
    if refusal.is_spike:
        return "spike"
    return "NaN" if refusal.reason.endswith("nan") else "infinity"


def _number(value: float) -> float | str:
    """JSON has no NaN."""
    return value if math.isfinite(value) else str(value)


def _append(path: Any, line: str) -> None:
    with open(path, "a", encoding="utf-8", opener=files.no_link) as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())
