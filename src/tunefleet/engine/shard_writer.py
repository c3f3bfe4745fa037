"""Shard writer: DeepSpeed's files, taken from it before they are written; how large they will be, and their bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointCommitInfo, CheckpointEngine
from torch import Tensor
from torch.utils.serialization import config as serialization

from tunefleet.contracts import ByteStream

_LEAF = 768  # bytes: two headers of torch's archive with a tensor's name, the alignment, its shape in the pickle
_ARCHIVE = 1 << 14  # bytes of its own records, and of a configuration


@dataclass(frozen=True)
class Shard:
    """One file of DeepSpeed's; `state` is the engine's own memory, which the next step changes."""

    state: Any

    @property
    def size(self) -> int:
        """Bytes, at least as many as will be written: every storage once, and as much as the rest may take."""
        leaves = list(_leaves(self.state))
        return sum(_storages(leaves).values()) + len(leaves) * _LEAF + _ARCHIVE

    def write(self, stream: ByteStream) -> None:
        """Writes it. torch's own CRC-32 is left out: the SHA-256 of the whole file holds more."""
        with cast(Any, serialization).patch("save.compute_crc32", False):
            storages = _storages(leaf for leaf in _leaves(self.state) if isinstance(leaf, Tensor) and leaf.is_cpu)
            torch.save(self.state, cast(Any, _ArchiveStream(stream, storages)))


class _ArchiveStream:
    """Tells a stream which of the archive's bytes are `storages`, as bytes by address; others go with `torch.save`."""

    def __init__(self, stream: ByteStream, storages: Mapping[int, int]) -> None:
        self._stream = stream
        self._storages = storages
        self.flush = stream.flush

    def write(self, data: memoryview) -> int:
        """The number of bytes."""
        address = np.frombuffer(data, np.uint8).ctypes.data if len(data) else 0
        if self._storages.get(address) == len(data):
            return self._stream.write_kept(data)
        return self._stream.write(data)


class ShardWriter(CheckpointEngine):  # type: ignore[misc]  # DeepSpeed has no types
    """In the place of DeepSpeed's own writer: keeps this rank's files, by their paths in the checkpoint's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.name = "tunefleet"
        self._folder = folder
        self.shards: dict[str, Shard] = {}

    def create(self, info: CheckpointCommitInfo) -> None:
        """DeepSpeed's announcement of a checkpoint."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Folders are made when files are written."""

    def save(self, state_dict: Any, path: str) -> None:
        """Keeps one file."""
        self.shards[str(Path(path).relative_to(self._folder))] = Shard(state_dict)

    def load(self, path: str, map_location: Any = None) -> Any:
        """Not read by the one that writes: `engine/shards.py` is how files are read."""
        raise NotImplementedError(path)

    def commit(self, info: CheckpointCommitInfo) -> bool:
        """DeepSpeed's end of a checkpoint; ours is in `checkpoint/store.py`."""
        return True


def _storages(leaves: Iterable[Any]) -> dict[int, int]:
    """The bytes of each storage among `leaves`, by its address."""
    storages = [leaf.untyped_storage() for leaf in leaves if isinstance(leaf, Tensor)]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _leaves(value: Any) -> Iterator[Any]:
    """What dictionaries and lists hold, however deep, with their keys."""
    if isinstance(value, Mapping):
        yield from value
        yield from chain.from_iterable(map(_leaves, value.values()))
    elif isinstance(value, list | tuple):
        yield from chain.from_iterable(map(_leaves, value))
    else:
        yield value
