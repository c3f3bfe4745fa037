"""Shard files of DeepSpeed: read without running what is in them: pickles that may hold values, and no code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import Tensor

from tunefleet.base.errors import RunError
from tunefleet.libraries.deepspeed_private import SAVED_CLASSES


@contextlib.contextmanager
def code_free() -> Iterator[None]:
    """Within it every `torch.load` of this process takes tensors and plain values (`SAVED_CLASSES`) alone.

    DeepSpeed reads its own files with `weights_only=False` in each of its ways: resuming, the universal checkpoint,
    the weights of ZeRO-3. Raises `RunError` where a file holds anything else; nothing of it has been run then.
    """
    load = torch.load

    def safely(file: Any, *arguments: Any, **settings: Any) -> Any:
        settings["weights_only"] = True
        settings.pop("pickle_module", None)
        return _refusing(lambda: load(file, *arguments[:1], **settings), file)

    torch.load = cast(Any, safely)
    try:
        with torch.serialization.safe_globals(list(SAVED_CLASSES)):
            yield
    finally:
        torch.load = load


def read(file: Path) -> dict[str, Any]:
    """What a file of DeepSpeed's holds, its tensors mapped into memory. Raises `RunError` as `code_free` does."""
    with code_free():
        content: dict[str, Any] = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    return content


def masters(shards: Path, frozen_left_out: bool) -> dict[str, Tensor]:
    """The fp32 master weights that the ranks of ZeRO saved in `shards`, joined. Raises `RunError` as `code_free`."""
    with code_free():
        state: dict[str, Tensor] = get_fp32_state_dict_from_zero_checkpoint(
            str(shards.parent), tag=shards.name, exclude_frozen_parameters=frozen_left_out
        )
    return state


def _refusing(load: Callable[[], Any], file: Any) -> Any:
    try:
        return load()
    except UnpicklingError as error:
        name = file if isinstance(file, str | Path) else getattr(file, "name", file)
        raise RunError(
            f"{name}: holds more than weights and was not read ({_first_line(error)}). No part of it was run. "
            "DeepSpeed writes nothing of the kind: put the file of the checkpoint back."
        ) from None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
