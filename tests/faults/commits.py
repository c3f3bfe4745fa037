"""What ranks do in the test of the order of a commit: save with DeepSpeed while strace looks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.faults.strace import traced
from tests.plans import tiny_plan
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.engine.group import join
from tunefleet.runs.trajectory import batches, engine

CALLS = "openat,mkdir,write,pwrite64,writev,fsync,fdatasync,rename"
STEPS = {1: "synced", 2: "control: nothing is synced"}


def saves(folder: Path, argument: Any) -> list[Any]:
    """A save by real ranks, and one without fsync; the calls of each are in `strace-STEP-RANK`.

    Then a shard of the last one is damaged: each rank returns the step that it resumes from, and what it says.
    """
    torch.set_num_threads(1)
    group = join()
    plan = tiny_plan(folder, ranks=group.size, stage=1, micro_batch=2)
    built = engine(plan, group)
    built.train_step(batches(plan, group.rank).take(plan.batch.accumulation))
    store = CheckpointStore(
        folder / "checkpoints", plan.identity, group, Retention(9), {"chat_template.jinja": "{{ x }}"}
    )
    for step in STEPS:
        fsync = os.fsync if step == 1 else lambda descriptor: None
        with traced(folder / f"strace-{step}-{group.rank}", CALLS), patch.object(os, "fsync", fsync):
            store.save(built, RunState(step=step))
    if group.rank == 0:
        shard = next((folder / "checkpoints" / "step-00000002" / "shards").glob("*rank_1_*optim_states.pt"))
        shard.write_bytes(shard.read_bytes()[:-1])
    group.barrier()
    resumed = CheckpointStore(folder / "checkpoints", plan.identity, group, Retention(9))
    state = resumed.restore(built)
    built.close()
    group.destroy()
    return [state and state.step, resumed.note]
