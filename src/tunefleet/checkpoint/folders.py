"""Checkpoint folders: their names, in the order of their steps, and what the names of others beside them mean."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tunefleet.base import files

UNFINISHED = ".tmp"
"""The suffix of a checkpoint that is being written."""
REPLACED = ".replaced"
"""The suffix of a checkpoint while a newer save of the same step takes its place: it still counts."""
DAMAGED = ".damaged"
"""The suffix of a checkpoint that is not as it was saved. It counts no more, and nothing deletes it."""
_REMOVED = ".removed"
_NAME = re.compile(rf"step-(\d{{8,}})({re.escape(REPLACED)})?")


def name_of(step: int) -> str:
    """The name of the folder of the checkpoint at `step`."""
    return f"step-{step:08d}"


def step_of(name: str) -> int:
    """The step in the name of a checkpoint's folder; 0 where it is none."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


def checkpoints(folder: Path) -> list[Path]:
    """The folders of committed checkpoints below `folder`, the highest step last, each behind what it replaces."""
    paths = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(paths, key=lambda path: (step_of(path.name), not path.name.endswith(REPLACED)))


def damaged(folder: Path) -> list[Path]:
    """The folders that were set aside."""
    return sorted(path for path in folder.glob(f"step-*{DAMAGED}*") if path.is_dir())


def set_aside(checkpoint: Path) -> Path:
    """Renames a checkpoint that is not as it was saved, so that it counts no more; returns its new path."""
    number, target = 1, checkpoint.with_name(checkpoint.name + DAMAGED)
    while target.exists():
        number += 1
        target = checkpoint.with_name(f"{checkpoint.name}{DAMAGED}-{number}")
    files.publish(checkpoint, target)
    return target


def remove(checkpoint: Path) -> None:
    """Removes a checkpoint: at once it counts no more, whatever happens while its files go."""
    doomed = checkpoint.with_name(checkpoint.name + _REMOVED)
    shutil.rmtree(doomed, ignore_errors=True)
    files.publish(checkpoint, doomed)
    shutil.rmtree(doomed)


def remove_leftovers(folder: Path) -> None:
    """Removes what processes left that were killed while they saved or removed a checkpoint; only the run may."""
    for suffix in (UNFINISHED, _REMOVED):
        for path in folder.glob(f"step-*{suffix}"):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"*.json.*{UNFINISHED}"):
        path.unlink(missing_ok=True)
