"""Resharding: shards of one number of processes become another's, through DeepSpeed's universal checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tunefleet.base import progress
from tunefleet.contracts import Group
from tunefleet.engine.shards import code_free
from tunefleet.libraries import deepspeed_private

_FOLDER = "universal.tmp"
_POINTER = "latest_universal"  # DeepSpeed writes it beside its folder; the checkpoint would count as damaged by it


def load(engine: Any, group: Group, folder: Path, tag: str, step: int) -> None:
    """Loads folder/tag, saved by any number of data-parallel ranks with an Adam, into a DeepSpeed engine.

    Rank 0 writes every tensor whole into the folder, each rank reads its part, and the copy goes. Collective.
    """
    if group.rank == 0:
        _convert(folder / tag, folder / _FOLDER)
    group.barrier()
    param_groups = deepspeed_private.client_optimizer(engine).param_groups
    settings = [{key: value for key, value in one_group.items() if key != "params"} for one_group in param_groups]
    with deepspeed_private.universal(engine), code_free():
        engine.load_checkpoint(str(folder), tag=_FOLDER, load_lr_scheduler_states=False)
    repair(engine, settings, step)
    group.barrier()
    if group.rank == 0:
        shutil.rmtree(folder / _FOLDER)
        (folder / _POINTER).unlink(missing_ok=True)


def _convert(shards: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    converting = progress.during("converting the checkpoint for another number of processes")
    with converting, code_free():
        deepspeed_private.convert_to_universal(shards, folder)


def repair(engine: Any, settings: Sequence[Mapping[str, Any]], step: int) -> None:
    """Undoes what loading at stage 3 does to an Adam without a word (DeepSpeed 0.19.8).

    All its parts get one and the same tensor as their count of steps, which each of them then raises; and every
    group gets the settings of the first, weight decay among them.
    """
    optimizer, steps = deepspeed_private.client_optimizer(engine), float(step - engine.skipped_steps)
    for state in optimizer.state.values():
        state["step"] = torch.full_like(state["step"], steps) if torch.is_tensor(state["step"]) else int(steps)
    for group, group_settings in zip(optimizer.param_groups, settings, strict=True):
        group.update(group_settings)
