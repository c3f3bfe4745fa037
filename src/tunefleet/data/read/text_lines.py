"""Text lines and bytes of a file, gzip or not, so that damage is named."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.errors import DataError
from tunefleet.data.read import input_limits, meter

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
BLOCK = 1 << 20
"""Bytes in memory."""
_READ = 1 << 17  # bytes that are read at once
_REMEDY = "If it is meant so, unpack it with gunzip."


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line with its number, without its end. Raises `DataError`."""
    number = empty = 0
    with _named(path, lambda: f" after line {number}"), _watched(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(input_limits.LONGEST), b""), 1):
            if len(line) == input_limits.LONGEST:
                input_limits.expect_row(f"{path}:{number}", len(line) + 1)
            empty = empty + 1 if line == b"\n" else 0
            if empty > input_limits.EMPTY_LINES:
                raise DataError(f"{path}:{number}: more than {input_limits.EMPTY_LINES:,} empty lines. Take them out.")
            yield number, (line.removeprefix(_BOM) if number == 1 else line).rstrip(b"\r\n")


def content(path: Path) -> bytes:
    """The content, unpacked. Raises `DataError`, also where it is too large to be read as a whole."""
    with _named(path, lambda: ""), _opened(path) as stream:
        unpacked = bytes(stream.read(input_limits.LARGEST + 1))
    if len(unpacked) > input_limits.LARGEST:
        raise DataError(
            f"{path}: more than {input_limits.LARGEST >> 30} GiB that can be read only as a whole. Write it "
            "as JSON lines, or without gzip."
        )
    return unpacked.removeprefix(_BOM)


def texts(path: Path) -> Iterator[str]:
    """The content as UTF-8, a part at a time. Raises `DataError`."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    read = 0
    with _named(path, lambda: ""), _watched(path) as stream:
        while block := stream.read(BLOCK):
            read += len(block)
            yield _decoded(decoder, block, path, read)
        yield _decoded(decoder, b"", path, read)


def _decoded(decoder: codecs.IncrementalDecoder, block: bytes, path: Path, read: int) -> str:
    try:
        return decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        offset = read - len(error.object) + error.start
        raise DataError(f"{path}: not UTF-8 at byte {offset}. Convert the file with `iconv -t utf-8`.") from None


def count(path: Path, byte: bytes) -> int:
    """How often a byte stands in the content, unpacked. Raises `DataError`."""
    with _named(path, lambda: ""), _opened(path) as stream:
        return sum(block.count(byte) for block in iter(lambda: stream.read(BLOCK), b""))


def on_one_line(path: Path) -> bool:
    """Whether much of the content stands on the first line. Raises `DataError`."""
    with _named(path, lambda: ""), _opened(path) as stream:
        return len(stream.readline(BLOCK)) == BLOCK


def text(encoded: bytes, location: str) -> str:
    """`encoded` as UTF-8. Raises `DataError`."""
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{location}: not UTF-8 at byte {error.start}. Convert the file with `iconv -t utf-8`."
        ) from None


def is_gzip(path: Path) -> bool:
    """Whether the content is compressed, whatever the name says. Raises `OSError`."""
    with open(path, "rb", opener=files.plain) as stream:
        return stream.read(2) == _GZIP


def _opened(path: Path) -> Any:
    if not is_gzip(path):
        return open(path, "rb", opener=files.plain)
    packed = open(path, "rb", opener=files.plain)  # closed by `_Unpacked`
    return io.BufferedReader(_Unpacked(path, packed), _READ)


@contextmanager
def _watched(path: Path) -> Iterator[Any]:
    """As `_opened`, and whoever watches the preparation is told how far it is read."""
    packed = is_gzip(path)
    with io.BufferedReader(_Watched(path), _READ) as stream:
        if not packed:
            yield stream
            return
        with io.BufferedReader(_Unpacked(path, stream), _READ) as unpacked:
            yield unpacked


class _Unpacked(io.RawIOBase):
    """What is packed in a stream, as long as it does not grow as no data do. Reading raises `DataError`."""

    def __init__(self, path: Path, packed: Any) -> None:
        self._path, self._packed, self._size = path, packed, 0
        self._unpacked = gzip.GzipFile(fileobj=packed)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a part of `buffer`; returns how many bytes."""
        count = self._unpacked.readinto1(buffer)
        self._size += count
        if self._size > input_limits.ALWAYS:
            input_limits.expect_ratio(self._path, self._packed.tell(), self._size, input_limits.GZIP, _REMEDY)
        return count

    def close(self) -> None:
        """Closes the packed stream too."""
        super().close()
        self._packed.close()


class _Watched(io.FileIO):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path, self._meter = path, meter.current()

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self._meter.at(self._path, self.tell())
        return count


@contextmanager
def _named(path: Path, progress: Any) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: gzip is cut off or damaged{progress()}: {error}. Fetch the file again.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
