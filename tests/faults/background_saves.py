"""What ranks do in the test of saves beside training: real engines, steps while a save waits, faults from outside."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.faults.refused_saves import SHARD
from tests.faults.saver import Engine
from tests.faults.saver import store as store_of_one
from tests.faults.strace import refusing
from tests.plans import tiny_plan
from tunefleet.base.errors import DiskError
from tunefleet.checkpoint import store
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.state_snapshot import SnapshotMemory
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.engine.group import join
from tunefleet.runs.trajectory import batches, engine


def saves(folder: Path, argument: Any) -> dict[str, Any]:
    """What became of saves beside steps: see the keys."""
    torch.set_num_threads(1)
    group = join()
    plan = tiny_plan(folder, ranks=group.size, stage=1, micro_batch=2)
    built = engine(plan, group)
    taken = batches(plan, group.rank)

    def step() -> None:
        built.train_step(taken.take(plan.batch.accumulation))

    def new(name: str) -> CheckpointStore:
        return CheckpointStore(folder / name, plan.identity, group, Retention(9))

    step()
    results: dict[str, Any] = {"killed": _killed(folder / "killed") if group.rank == 0 else None}
    beside, at_once, control = new("beside"), new("at_once"), new("control")
    at_once.save(built, RunState(step=1))
    results["beside"] = _while_waiting(beside, built, step)
    with patch.object(SnapshotMemory, "copied", lambda memory, part: part):
        _while_waiting(control, built, step)
    results["sums"] = {name: _sums(folder / name) for name in ("beside", "at_once", "control")}
    results["overlap"] = _overlap(folder / "beside", beside, built)
    results["failure"] = _failure(folder / "beside", group, beside, built, step)
    return results


@contextmanager
def held(gate: threading.Event) -> Iterator[None]:
    """Within it a disk so slow that nothing is written before the gate opens."""

    def write(*arguments: Any) -> Any:
        gate.wait(60)
        return _write(*arguments)

    _write = store.write
    with patch.object(store, "write", write):
        yield


def _while_waiting(saved: CheckpointStore, built: Any, step: Callable[[], None]) -> list[Any]:
    """What `advance` says before and after the bytes are written, with a step between."""
    gate = threading.Event()
    with held(gate):
        saved.save_beside(built, RunState(step=1))
        step()
        early = saved.advance()
        gate.set()
        while (late := saved.advance()) is None:
            step()
    return [early, late, saved.advance()]


def _overlap(folder: Path, saved: CheckpointStore, built: Any) -> list[str]:
    """The names that are there when a second save begins while a first is written."""
    gate = threading.Event()
    threading.Timer(0.5, gate.set).start()
    with held(gate):
        saved.save_beside(built, RunState(step=2))
        saved.save_beside(built, RunState(step=3))
        names = sorted(path.name for path in folder.iterdir() if path.suffix != ".tmp")
        saved.advance(wait=True)
    return names


def _failure(folder: Path, group: Any, saved: CheckpointStore, built: Any, step: Callable[[], None]) -> list[Any]:
    """After how many steps all ranks raise what one of them met beside them; what is left then."""
    part = folder / f"step-00000004.tmp/{SHARD}"
    refusal = refusing("fsync", "EIO", part, folder.with_name("strace-beside"))
    with refusal if group.rank == 1 else nullcontext():
        saved.save_beside(built, RunState(step=4))
        for steps in range(1, 100):
            step()
            try:
                saved.advance()
            except DiskError as error:
                group.barrier()
                return [steps, str(error), sorted(path.name for path in folder.iterdir())]
    return [0, "", []]


def _killed(folder: Path) -> list[Any]:
    """SIGKILL while a save beside training is written: which files there were, and what is resumed from then."""
    store_of_one(folder).save(Engine(1), RunState(step=1))
    child = os.fork()
    if not child:
        with held(threading.Event()):
            store_of_one(folder).save_beside(Engine(2), RunState(step=2))
        time.sleep(60)
        os._exit(0)
    part = folder / "checkpoints" / "step-00000002.tmp"
    while not part.exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    names = sorted(path.name for path in part.parent.iterdir())
    restored = Engine()
    state = store_of_one(folder).restore(restored)
    return [names, state and state.step, restored.value]


def _sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, which holds the time."""
    paths = [path for path in (folder / "step-00000001").rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}
