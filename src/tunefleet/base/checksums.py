"""Checksums: sizes and CRC-32 of the files of a folder, and what has changed since."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

Checksum = list[int]
"""[bytes, CRC-32] of a file, as JSON holds it."""
_BLOCK = 1 << 22


def checksum(path: Path) -> Checksum:
    """[bytes, CRC-32] of the file `path`. Raises `OSError`."""
    size = total = 0
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            size, total = size + len(block), zlib.crc32(block, total)
    return [size, total]


def names(folder: Path, without: Iterable[str] = ()) -> list[str]:
    """The files below `folder` by relative name, sorted; hidden ones and those whose first part is in `without` are
    left out.
    """
    relative = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    left_out = set(without)
    return [
        name
        for name in relative
        if Path(name).parts[0] not in left_out and not any(part.startswith(".") for part in Path(name).parts)
    ]


def differences(current: dict[str, Checksum], recorded: dict[str, Checksum]) -> list[str]:
    """What is not as it was written, as `name: what`, by name."""
    changed = [
        f"{name}: missing or changed since it was saved"
        for name in sorted(recorded)
        if current.get(name) != recorded[name]
    ]
    return changed + [f"{name}: was not there when it was saved" for name in sorted(current.keys() - recorded.keys())]
