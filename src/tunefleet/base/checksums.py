"""Checksums: sizes and SHA-256 of the files of a folder, and what has changed since."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tunefleet.base import files

Checksum = list[int | str]
"""[bytes, SHA-256] of a file, as JSON holds it; version 0.1 wrote [bytes, CRC-32]."""
_BLOCK = 1 << 22
_SHOWN = 16  # digits of a SHA-256 in messages


def checksum(path: Path) -> Checksum:
    """[bytes, SHA-256] of the file `path`. Raises `OSError`."""
    with open(path, "rb", opener=files.plain) as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return [stream.tell(), sha256]


def is_checksum(value: Any) -> bool:
    """Whether a value of a file that may have been edited is a `Checksum`."""
    return isinstance(value, list) and [type(part) for part in value] in ([int, str], [int, int])


def change(path: Path, recorded: Checksum) -> str:
    """What has changed in the file `path` since its checksum was `recorded`: expected and actual bytes and hash.

    Empty where nothing has; every byte is read.
    """
    try:
        current = checksum(path) if isinstance(recorded[1], str) else _crc_32(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if current == recorded else f"changed since it was saved: {_shown(current)}, expected {_shown(recorded)}"


def changes(folder: Path, recorded: Mapping[str, Checksum]) -> list[str]:
    """What has changed in the `recorded` files of `folder`, as `name: what`, by name."""
    return [f"{name}: {reason}" for name in sorted(recorded) if (reason := change(folder / name, recorded[name]))]


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


def _crc_32(path: Path) -> Checksum:
    size = total = 0
    with open(path, "rb", opener=files.plain) as stream:
        while block := stream.read(_BLOCK):
            size, total = size + len(block), zlib.crc32(block, total)
    return [size, total]


def _shown(checksum: Checksum) -> str:
    size, value = checksum
    return f"{size} bytes with " + (f"SHA-256 {value[:_SHOWN]}" if isinstance(value, str) else f"CRC-32 {value:08x}")
