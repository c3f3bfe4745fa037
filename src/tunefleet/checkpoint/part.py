"""Part of a checkpoint: the files of one rank, and how they come to the disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tunefleet.base.checksums import Checksum
from tunefleet.base.sealed_files import Sealing
from tunefleet.contracts import CheckpointFile


def write(folder: Path, part: Mapping[str, CheckpointFile]) -> dict[str, Checksum]:
    """Writes and syncs the files of a part below `folder`; returns their checksums by name. Raises `OSError`."""
    with Sealing() as sealing:
        streams = {}
        for name, file in part.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with sealing.file(path, file.size) as streams[name]:
                file.write(streams[name])
        return {name: stream.checksum() for name, stream in streams.items()}
