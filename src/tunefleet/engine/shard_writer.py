"""Shard writer: how DeepSpeed's files come to the disk: hashed while they are written, and synced."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointCommitInfo, CheckpointEngine
from torch.utils.serialization import config as serialization

from tunefleet.base.checksums import Checksum
from tunefleet.base.sealed_files import SealedFile


class ShardWriter(CheckpointEngine):  # type: ignore[misc]  # DeepSpeed has no types
    """In the place of DeepSpeed's own writer, for one `folder`; `checksums` are those of this rank, by name in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.name = "tunefleet"
        self._folder = folder
        self.checksums: dict[str, Checksum] = {}

    def create(self, info: CheckpointCommitInfo) -> None:
        """DeepSpeed's announcement of a checkpoint."""

    def save(self, state_dict: Any, path: str) -> None:
        """Writes one file. torch's own CRC-32 is left out: the SHA-256 of the whole file holds more."""
        with SealedFile(Path(path)) as file, cast(Any, serialization).patch("save.compute_crc32", False):
            torch.save(state_dict, cast(Any, file))
        self.checksums[str(Path(path).relative_to(self._folder))] = file.checksum

    def load(self, path: str, map_location: Any = None) -> Any:
        """Not read by the one that writes: `engine/shards.py` is how files are read."""
        raise NotImplementedError(path)

    def commit(self, info: CheckpointCommitInfo) -> bool:
        """DeepSpeed's end of a checkpoint; ours is in `checkpoint/store.py`."""
        return True
