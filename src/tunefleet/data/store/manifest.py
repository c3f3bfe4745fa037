"""Manifest of a data set: the size and CRC-32 of every file, written before it is published."""

from __future__ import annotations

from pathlib import Path

from tunefleet.base import files
from tunefleet.base.checksums import checksum

_NAME = "files.json"


def seal(folder: Path) -> None:
    """Writes down what every file in `folder` is."""
    files.write_json(folder / _NAME, {path.name: checksum(path) for path in sorted(folder.iterdir())})
    files.sync_folder(folder)


def expect_sizes(folder: Path) -> None:
    """Raises `ValueError` or `OSError` where a file of a sealed folder is missing, or longer or shorter than it was."""
    for name, (written, _) in files.read_json(folder / _NAME).items():
        size = (folder / name).stat().st_size
        if size != written:
            raise ValueError(f"{folder / name} has {size} bytes instead of {written}")


def is_whole(folder: Path) -> bool:
    """Whether every byte of a sealed folder is as it was written; it reads them all."""
    return all(checksum(folder / name) == written for name, written in files.read_json(folder / _NAME).items())
