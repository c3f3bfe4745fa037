"""What ranks do in the test of disks that refuse a save: one of them meets the error, all of them are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.faults.small_disk import emptied, filled
from tests.faults.strace import refusing
from tests.plans import tiny_plan
from tunefleet.base import disk
from tunefleet.checkpoint import store
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.engine.group import join
from tunefleet.runs.trajectory import batches, engine

SHARD = "shards/zero_pp_rank_1_mp_rank_00_optim_states.pt"
REFUSED = {
    "quota": (1, "write", "EDQUOT", f"step-00000002.tmp/{SHARD}"),
    "fsync": (1, "fsync", "EIO", f"step-00000002.tmp/{SHARD}"),
    "folder": (0, "mkdir", "ENOSPC", "step-00000002.tmp"),
    "read-only": (1, "openat", "EROFS", f"step-00000002.tmp/{SHARD}"),
    "commit": (0, "rename", "EIO", "step-00000002.tmp"),
}
"""The rank that meets it, the system call, its error, and what it is about."""


def saves(folder: Path, argument: Any) -> list[Any]:
    """A good save on the small disk in `folder`, one for each fault, and a good one.

    For each: what this rank raised, the names that were left, and the calls that were refused. The control is the last:
    rank 1 leaves alone.
    """
    torch.set_num_threads(1)
    group = join()
    checkpoints, outcomes = folder / "disk" / "checkpoints", []
    plan = tiny_plan(folder, ranks=group.size, stage=1, micro_batch=2)
    built = engine(plan, group)
    built.train_step(batches(plan, group.rank).take(plan.batch.accumulation))
    saved = CheckpointStore(checkpoints, plan.identity, group, Retention(9))
    saved.save(built, RunState(step=1))

    def attempt(fault: str, condition: AbstractContextManager[Any], step: int = 2) -> None:
        with condition:
            message = _raised(lambda: saved.save(built, RunState(step=step)))
        group.barrier()
        log = folder / f"strace-{fault}"
        names = sorted(path.name for path in checkpoints.iterdir())
        outcomes.append([fault, message, names, log.read_text() if log.exists() else ""])
        group.barrier()

    for fault, (rank, call, error, name) in REFUSED.items():
        refusal = refusing(call, error, checkpoints / name, folder / f"strace-{fault}")
        attempt(fault, refusal if group.rank == rank else nullcontext())
    attempt("full", _full(folder / "disk", group))
    attempt("filled meanwhile", _filled_meanwhile(folder / "disk", group))
    attempt("room again", nullcontext())
    refusal = refusing("fsync", "EIO", checkpoints / f"step-00000003.tmp/{SHARD}", folder / "strace-control")
    with refusal if group.rank == 1 else nullcontext(), patch.object(store, "on_all", _alone):
        outcomes.append(["control", _raised(lambda: saved.save(built, RunState(step=3))), [], ""])
    return outcomes


def _raised(act: Callable[[], None]) -> str:
    try:
        act()
    except Exception as error:  # whatever the control makes of it
        return f"{type(error).__name__}: {error}"
    return ""


@contextmanager
def _full(folder: Path, group: Any) -> Iterator[None]:
    if group.rank == 0:
        filled(folder)
    group.barrier()
    yield
    if group.rank == 0:
        emptied(folder)


@contextmanager
def _filled_meanwhile(folder: Path, group: Any) -> Iterator[None]:
    """After rank 0 has seen that there is room, another process takes it."""

    def fill(path: Path, needed: int, files: int = 1) -> None:
        filled(folder, but=needed // 8)

    with patch.object(disk, "expect_room", fill):
        yield
    if group.rank == 0:
        emptied(folder)


def _alone(group: Any, folder: Path, act: Callable[[], Any]) -> list[Any]:
    """The control: who cannot write leaves, and nobody is told."""
    return list(group.gather(act()))
