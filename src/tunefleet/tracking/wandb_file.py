"""W&B file: what the package has written of a run that is on this disk, record by record.

A file of LevelDB's log format behind seven bytes of W&B's own; each record is a message of its protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tunefleet.base import files

_BLOCK, _HEADER, _FILE_HEADER = 32768, 7, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def steps(path: Path) -> set[int] | None:
    """The steps whose records the file holds; None where it is missing, empty, torn, or without a beginning or an end.

    A run that was killed has left a file without an end, most often an empty one: it is written seconds later.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    history, has_begun, has_ended = set(), False, False
    try:
        for content in _contents(files.read_bytes(path)):
            record = Record.FromString(content)
            has_begun |= record.HasField("run")
            has_ended |= record.HasField("exit")
            if record.HasField("history"):
                history.add(record.history.step.num)
    except (OSError, ValueError, DecodeError):
        return None
    return history if has_begun and has_ended else None


def _contents(data: bytes) -> Iterator[bytes]:
    """The records. Raises `ValueError` where the file ends in the middle of one, or has none there."""
    offset, parts = _FILE_HEADER, b""
    while offset < len(data):
        if _BLOCK - offset % _BLOCK < _HEADER:  # too little for a header: filled up with zeros
            offset += _BLOCK - offset % _BLOCK
            continue
        if offset + _HEADER > len(data):
            raise ValueError("torn")
        length, kind = struct.unpack_from("<HB", data, offset + 4)
        offset += _HEADER
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or offset + length > len(data):
            raise ValueError("torn")
        parts += data[offset : offset + length]
        offset += length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""
    if parts:
        raise ValueError("torn")
