"""Frozen weights: they stay out of checkpoints, which hold a number that tells which they were."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunefleet.base import files
from tunefleet.base.errors import RunError
from tunefleet.base.sealed_files import SmallFile
from tunefleet.libraries import deepspeed_private

FILE = "frozen.json"  # in every checkpoint that leaves weights out
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_BLOCKS = {"cpu": 1 << 20, "cuda": 1 << 24}  # elements that are summed at once: 400 MB of int64 on a GPU
_BITS = (1 << 64) - 1


def fingerprint(module: nn.Module, rank: int, ranks: int) -> int:
    """This rank's part of a 64-bit number that depends on every bit of every frozen weight, and on its place.

    The parts of all ranks, added modulo 2^64, are the same however weights are sharded: every element is
    multiplied by a number of its own. Whole weights are counted by one rank each.
    """
    total = 0
    for number, (name, weight) in enumerate(_frozen(module)):
        salt = zlib.crc32(name.encode())
        shard = deepspeed_private.own_shard(weight)
        if shard is not None:
            total += _sum(*_without_padding(weight, shard, rank), salt)
        elif number % ranks == rank:
            total += _sum(weight.detach().flatten(), 0, salt)
    return total & _BITS


def combine(parts: list[int]) -> int:
    """The number of all ranks' parts."""
    return sum(parts) & _BITS


def record(base: int) -> SmallFile:
    """The file with the number of all frozen weights."""
    return SmallFile(json.dumps({"base": base}).encode())


def expect(folder: Path, base: int) -> None:
    """Raises `RunError` where the checkpoint in `folder` was made beside other frozen weights than `base`."""
    if files.read_json(folder / FILE)["base"] != base:
        raise RunError(
            f"{folder}: was trained beside other frozen weights than the model has now. Put the files of model.path "
            "back that it was started with (or the versions in provenance.json, where model.init=random)."
        )


def any_frozen(module: nn.Module) -> bool:
    """Whether some weight is not trainable."""
    return any(True for _ in _frozen(module))


@contextmanager
def without_frozen(module: nn.Module) -> Iterator[None]:
    """Within it, the state of `module` holds no frozen weight: not under the second name of a tied one either.

    Nor what a quantised weight keeps beside itself, under names that begin with its own (`weight.absmax`).
    """

    def drop(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        weights = module.named_parameters(remove_duplicate=False)
        names = {prefix + name for name, weight in weights if not weight.requires_grad}
        for key in [key for key in state if key in names or _owners(key) & names]:
            del state[key]

    handle = module.register_state_dict_post_hook(drop)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        handle.remove()


def _owners(key: str) -> set[str]:
    """The names that `key` begins with, dot by dot."""
    parts = key.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def _frozen(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, weight) for name, weight in module.named_parameters() if not weight.requires_grad)


def _without_padding(weight: nn.Parameter, shard: Tensor, rank: int) -> tuple[Tensor, int]:
    """(elements of this rank, number of the first), without the padding of the last shard."""
    elements = shard.detach().flatten()
    first = rank * elements.numel()
    return elements[: max(0, min(elements.numel(), deepspeed_private.whole_size(weight) - first))], first


def _sum(values: Tensor, first: int, salt: int) -> int:
    """Sum of bits x (an odd number of the place) modulo 2^64, which int64 computes by itself."""
    integers = values.contiguous().view(_INTEGERS[values.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=values.device)
    size = _BLOCKS.get(values.device.type, _BLOCKS["cpu"])
    for start in range(0, integers.numel(), size):
        block = integers[start : start + size].to(torch.int64)
        positions = torch.arange(first + start, first + start + block.numel(), device=block.device)
        total += (block * ((positions + salt) * 0x9E3779B97F4A7C1 * 2 + 1)).sum()
    return int(total)  # one wait for the GPU for each weight
