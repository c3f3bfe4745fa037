"""Part of a checkpoint: the files of one rank, and how they come to the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tunefleet.base.checksums import Checksum
from tunefleet.base.sealed_files import SealedFile
from tunefleet.contracts import CheckpointFile


def write(folder: Path, part: Mapping[str, CheckpointFile]) -> dict[str, Checksum]:
    """Writes and syncs the files of a part below `folder`; returns their checksums by name. Raises `OSError`."""
    sums: dict[str, Checksum] = {}
    for name, file in part.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with SealedFile(path, file.size) as stream:
            file.write(stream)
        sums[name] = stream.checksum
    return sums
