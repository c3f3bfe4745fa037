"""Arrow claims: the bytes that compressed buffers of an Arrow file say they unpack to, read without unpacking any.

Arrow takes the memory that a buffer asks for before it looks at its content. A message is a flatbuffer (a table of
offsets) and a body; each compressed buffer in the body begins with its unpacked size, eight bytes (the Arrow columnar
format, "Compression" and File.fbs, Message.fbs).
"""

from __future__ import annotations

import struct
from typing import Any

_MAGIC = b"ARROW1\0\0"
_DICTIONARY, _RECORDS = 2, 3  # what a message can be about
_BUFFER = 16  # bytes of an entry: where it begins in the body, and its length


def unpacked(content: Any) -> int:
    """The bytes that all compressed buffers of an Arrow file claim; 0 where nothing is compressed or can be read.

    `content` is a file of pyarrow's, which is left at its start.
    """
    import pyarrow.ipc

    content.seek(len(_MAGIC) if content.read(len(_MAGIC)) == _MAGIC else 0)
    total = 0
    try:
        for message in pyarrow.ipc.MessageReader.open_stream(content):
            total += _claimed(memoryview(message.metadata), message.body)
    except (pyarrow.ArrowException, OSError, EOFError, struct.error, IndexError):
        pass  # whoever reads the file says what is wrong with it
    finally:
        content.seek(0)
    return total


def _claimed(metadata: memoryview, body: Any) -> int:
    message = _at(metadata, 0)
    kind = _field(metadata, message, 1)
    header = _field(metadata, message, 2)
    if not kind or not header or metadata[kind] not in (_DICTIONARY, _RECORDS) or body is None:
        return 0
    records = _at(metadata, header)
    if metadata[kind] == _DICTIONARY:
        records = _at(metadata, _field(metadata, records, 1))
    if not _field(metadata, records, 3):  # the kind of compression
        return 0
    buffers = _at(metadata, _field(metadata, records, 2))
    count = _number("<I", metadata, buffers)
    entries = (struct.unpack_from("<qq", metadata, buffers + 4 + _BUFFER * i) for i in range(count))
    return sum(max(0, _number("<q", memoryview(body), start)) for start, length in entries if length >= 8)


def _number(kind: str, content: memoryview, offset: int) -> int:
    if offset < 0:
        raise IndexError(offset)
    return int(struct.unpack_from(kind, content, offset)[0])


def _at(content: memoryview, offset: int) -> int:
    """Where the offset at `offset` leads."""
    return offset + _number("<I", content, offset)


def _field(content: memoryview, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table stands; 0 where it is left out."""
    vtable = table - _number("<i", content, table)
    if 4 + 2 * number >= _number("<H", content, vtable):
        return 0
    offset = _number("<H", content, vtable + 4 + 2 * number)
    return table + offset if offset else 0
