"""Manifest of a data set: the size and SHA-256 of every file, written before it is published."""

from __future__ import annotations

from pathlib import Path

from tunefleet.base import digests, files
from tunefleet.base.checksums import Checksum, change, checksum

_NAME = "files.json"


def seal(folder: Path) -> None:
    """Writes down what every file in `folder` is."""
    files.write_json(folder / _NAME, {path.name: checksum(path) for path in sorted(folder.iterdir())})
    files.sync_folder(folder)


def of_itself(folder: Path) -> Checksum:
    """The checksum of the manifest of a sealed folder, for whoever keeps several. Raises `OSError`."""
    return checksum(folder / _NAME)


def expect_sizes(folder: Path) -> None:
    """Raises `ValueError` or `OSError` where a file of a sealed folder is missing, or longer or shorter than it was."""
    for name, (written, _) in files.read_json(folder / _NAME).items():
        size = (folder / name).stat().st_size
        if size != written:
            raise ValueError(f"{folder / name} has {size} bytes instead of {written}")


def expect_whole(folder: Path, itself: Checksum, memory: Path | None) -> None:
    """Raises `ValueError` where a byte of a sealed folder is not as it was written, `OSError` or `DataError` where a
    file cannot be read. `itself` is what `of_itself` gave.

    What the folder `memory` says was read since its last change is not read again (`base/digests.py`).
    """
    if reason := change(folder / _NAME, itself):
        raise ValueError(f"{folder / _NAME}: {reason}")
    for name, recorded in files.read_json(folder / _NAME).items():
        if digests.digest(folder / name, memory).hex() != recorded[1]:
            raise ValueError(f"{folder / name}: {change(folder / name, recorded)}")
