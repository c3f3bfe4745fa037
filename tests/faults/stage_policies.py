"""What ranks do in the test of `train.on_non_finite` at each ZeRO stage, also while a checkpoint is being written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.faults.poisoned_runs import shared_inputs, trained
from tests.runs.training import planned
from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.checkpoint import store
from tunefleet.contracts import MicroBatch, StepResult, UpdateRule
from tunefleet.engine.group import ProcessGroup
from tunefleet.engine.zero import ZeroEngine

POLICIES = {
    "stop": ["train.on_non_finite=stop"],
    "skip": ["train.on_non_finite=skip"],
    "budget": ["train.on_non_finite=skip", "train.skip_budget=0"],
    "rewind": ["train.on_non_finite=rewind"],
}
HELD = "step-00000002.tmp"  # what is being written when step 3 is refused


def policies(folder: Path, argument: dict[str, list[str]]) -> dict[str, Any]:
    """How a run of each of `names` ended, where `overrides` say how it is sharded and saved."""
    ProcessGroup.destroy = ProcessGroup.barrier  # type: ignore[method-assign]  # DeepSpeed joins once in a process
    typed = [*shared_inputs(folder), *argument["overrides"]]
    is_beside = "checkpoint.asynchronous=true" in typed
    report = {}
    for name in argument["names"]:
        plan = planned(folder, f"name={name}", *typed, *POLICIES[name])
        with Watched(plan.paths).held_save() if is_beside else nullcontext([]) as steps:
            report[name] = {**trained(plan), "steps": steps}
    return report


class Watched:
    """Notes of each step whether it was refused while a part was being written, and what status.json had before it."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._refused = threading.Event()
        self._is_held = False
        self._steps: list[dict[str, Any]] = []

    @contextmanager
    def held_save(self) -> Iterator[list[dict[str, Any]]]:
        """Within it the part of step 2 is on its way until a step is refused; yields the notes."""
        with patch.object(store, "write", self._write), patch.object(ZeroEngine, "train_step", self._train_step()):
            yield self._steps

    def _write(self, folder: Path, part: Any) -> Any:
        self._is_held = folder.name == HELD
        if self._is_held:
            self._refused.wait(60)
        self._is_held = False
        return _write(folder, part)

    def _train_step(self) -> Any:
        def train_step(engine: ZeroEngine, micro_batches: Sequence[MicroBatch], rule: UpdateRule) -> StepResult:
            now = status.read(self._paths.status)
            result = _train_step(engine, micro_batches, rule)
            note = {"refused": bool(result.refusal), "beside": self._is_held, "saved": now and now.saved_step}
            self._steps.append(note)
            if result.refusal:
                self._refused.set()
            return result

        return train_step


_write, _train_step = store.write, ZeroEngine.train_step
