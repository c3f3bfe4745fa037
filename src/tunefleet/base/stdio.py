"""Output that cannot be written: its reader left, the disk is full, the stream was closed."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import IO, Any, cast

from tunefleet.base import secrets
from tunefleet.base.text import printable

_UNREADABLE = (errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.EBADF)  # no reader is left: of a pipe, of a terminal
_STDOUT = 1


def protect() -> None:
    """Makes this process's stdout and stderr streams whose writes never raise, so that no print stops an act.

    Where the reader left (`| head`, a closed terminal) the rest is dropped in silence, here and in processes that
    start later; another error, such as a full disk, is reported once on stderr. Characters that the stream's encoding
    lacks are escaped, and values of secret variables are left out. A stream that was closed (`2>&-`) goes to /dev/null,
    or the next file that is opened would take its descriptor. Streams that a caller has replaced, such as a test, are
    left alone.
    """
    _open_closed()
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _protected(sys.stdout, _STDOUT)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = _protected(sys.stderr, 2)


def reader_left() -> bool:
    """Whether standard output has no reader any more, as far as a write has shown."""
    descriptor_stream = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(descriptor_stream, _Descriptor) and descriptor_stream.reader_left


def width() -> int | None:
    """Columns of the terminal that standard output is; None where it is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


class _Descriptor(io.FileIO):
    """A descriptor whose writes succeed, whatever becomes of the bytes."""

    reader_left = False
    _reported = False

    def write(self, data: Any) -> int:
        """The number of bytes that are out of the way."""
        try:
            while (written := super().write(data)) is None:  # a pipe that does not block, and is full
                select.select([], [self], [])
            return written
        except OSError as error:
            self._give_up(error)
            return memoryview(data).nbytes

    def _give_up(self, error: OSError) -> None:
        if error.errno in _UNREADABLE:
            self.reader_left = True
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
        elif self.fileno() == _STDOUT and not self._reported:
            self._reported = True
            print(f"tunefleet: standard output: {error.strerror}; output is missing there.", file=sys.stderr)


class _Text(io.TextIOWrapper):
    """A text stream that passes on no secret of this process, and nothing that a terminal obeys.

    A library may print an address or its environment, and names, reasons and rows of data may hold escape sequences.
    """

    def write(self, text: str) -> int:
        """The number of characters that are out of the way."""
        self.write_styled(printable(text))
        return len(text)

    def write_styled(self, text: str) -> None:
        """Writes with the escape sequences that are in it."""
        super().write(secrets.without_own(text))


def neutral(stream: IO[str]) -> IO[str]:
    """`stream`, to which nothing is written that a terminal obeys, as `protect` makes standard output."""
    return cast("IO[str]", _Neutral(stream))


def styled(stream: IO[str]) -> IO[str]:
    """`stream` for what draws on a terminal itself, a bar or colours; others write to it without escape sequences."""
    return cast("IO[str]", _Styled(stream))


class _Neutral:
    """Passes everything on but escape sequences."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """The number of characters that are out of the way."""
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Styled:
    """Passes everything on, and escape sequences too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """The number of characters that are out of the way."""
        if isinstance(self._stream, _Text):
            self._stream.write_styled(text)
        else:
            self._stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _protected(stream: Any, descriptor: int) -> io.TextIOWrapper:
    descriptor_stream = _Descriptor(descriptor, "wb", closefd=False)
    if stream is None:  # it was closed when Python started
        return _Text(io.BufferedWriter(descriptor_stream), "utf-8", "backslashreplace")
    stream.flush()
    options = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
    return _Text(io.BufferedWriter(descriptor_stream), stream.encoding, "backslashreplace", **options)


def _open_closed() -> None:
    """Fills closed descriptors of this process and of those that it starts."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
