"""How shards that one number of processes saved become another's: through DeepSpeed's universal checkpoint."""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from deepspeed.checkpoint import ds_to_universal

from tunefleet.base import progress
from tunefleet.contracts import Group
from tunefleet.engine.shards import code_free

_FOLDER = "universal.tmp"


def load(engine: Any, group: Group, folder: Path, tag: str, step: int) -> None:
    """Loads folder/tag, saved by any number of data-parallel ranks with an Adam, into a DeepSpeed engine.

    Rank 0 writes every tensor whole into the folder, each rank reads its part, and the copy goes. Collective.
    """
    if group.rank == 0:
        _convert(folder / tag, folder / _FOLDER)
    group.barrier()
    settings = [{k: v for k, v in one.items() if k != "params"} for one in engine.basic_optimizer.param_groups]
    engine._config.load_universal_checkpoint = True
    with code_free():
        engine.load_checkpoint(str(folder), tag=_FOLDER, load_lr_scheduler_states=False)
    engine._config.load_universal_checkpoint = False
    _mend(engine, settings, step)
    group.barrier()
    if group.rank == 0:
        shutil.rmtree(folder / _FOLDER)


def _convert(shards: Path, whole: Path) -> None:
    shutil.rmtree(whole, ignore_errors=True)
    asked = argparse.Namespace(
        input_folder=str(shards),
        output_folder=str(whole),
        num_extract_workers=1,  # in this process: others would be forks of a rank
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    doing = progress.during("converting the checkpoint for another number of processes")
    with doing, redirect_stdout(io.StringIO()), code_free():
        ds_to_universal.main(asked)


def _mend(engine: Any, settings: Sequence[Mapping[str, Any]], step: int) -> None:
    """Undoes what loading at stage 3 does to an Adam without a word (DeepSpeed 0.19.8).

    All its parts get one and the same tensor as their count of steps, which each of them then raises; and every
    group gets the settings of the first, weight decay among them.
    """
    taken = float(step - engine.skipped_steps)
    for state in engine.basic_optimizer.state.values():
        state["step"] = torch.full_like(state["step"], taken) if torch.is_tensor(state["step"]) else int(taken)
    for group, own in zip(engine.basic_optimizer.param_groups, settings, strict=True):
        group.update(own)
