"""Atomic files: written so that a reader never sees half of one: a temporary name, fsync, rename."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunefleet.base import disk, modes

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""The system's numbers for a disk that gives no file a second name."""
_LARGEST = 1 << 30  # bytes of a record of ours: the metrics of ten million steps


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text` (UTF-8) atomically; its folder is made if it is missing.

    Raises `DiskError` where the disk is why it cannot be written, `OSError` elsewhere; `path` is as it was then.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_text`, for what is no text."""
    with disk.writing(path, len(content)):
        modes.make(path.parent)
        _replace(path, [content])


def write_new(path: Path, text: str) -> None:
    """As `write_text`, where nothing has that name. Raises `FileExistsError` where something has, if only now."""
    content, temporary = text.encode(), temporary_beside(path)
    with disk.writing(path, len(content)):
        modes.make(path.parent)
        try:
            _replace(temporary, [content])
            publish_new(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """As `write_text`, for text that comes in parts."""
    with disk.writing(path):
        modes.make(path.parent)
        _replace(path, (line.encode() for line in lines))


def rewrite(path: Path, content: bytes) -> None:
    """As `write_bytes`, for what is written every few seconds: after a power cut nobody needs it. Makes no folder."""
    with disk.writing(path, len(content)):
        _replace(path, [content], durable=False)


def temporary_beside(path: Path) -> Path:
    """A new name beside `path`, which no process on any machine that shares the disk has at the same time."""
    host = socket.gethostname().split(".")[0]
    return path.with_name(f"{path.name}.{host}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _replace(path: Path, parts: Iterable[bytes], durable: bool = True) -> None:
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb", opener=new_file) as stream:
            stream.writelines(parts)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        publish(temporary, path) if durable else os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # of a disk that fails; what is left has a name that is written anew
            temporary.unlink()
        raise


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises `OSError` or `ValueError`."""
    return parse_json(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """What is in the file `path`. Raises `OSError`; for a pipe, a device or a folder too, which could wait for ever."""
    with open(path, "rb", opener=plain) as stream:
        if os.fstat(stream.fileno()).st_size > _LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return stream.read()


def read_part(path: Path, offset: int, length: int = -1) -> bytes:
    """At most `length` bytes of the file `path` from byte `offset` on. Raises `OSError` as `read_bytes`."""
    with open(path, "rb", opener=plain) as stream:
        stream.seek(offset)
        return stream.read(length)


def read_text(path: Path, errors: str = "strict") -> str:
    """The same as UTF-8; line ends are "\\n". Raises `UnicodeDecodeError` too, a `ValueError`."""
    return read_bytes(path).decode("utf-8", errors).replace("\r\n", "\n").replace("\r", "\n")


def plain(path: str, flags: int) -> int:
    """An `opener` that waits for nothing. Raises `OSError` where something else than a plain file is there.

    A pipe has no content until somebody writes, and a device no end.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "is no plain file", path)


def no_link(path: str, flags: int) -> int:
    """As `plain`, for files of ours that are appended to. Raises `OSError` where a link is in the place of the file.

    It could lead to any file of the user's, which would then be changed.
    """
    descriptor = plain(path, flags | os.O_NOFOLLOW)
    modes.fit(descriptor)
    return descriptor


def new_file(path: str, flags: int) -> int:
    """An `opener` for a temporary name: what a killed process left there goes first, or a link that somebody put there.

    Raises `OSError` where that cannot be removed.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_EXCL | os.O_CLOEXEC, 0o666)


def touch(path: Path) -> None:
    """Makes the file `path`, empty, or moves its time to now. Raises `OSError` where a link is in its place."""
    descriptor = no_link(os.fspath(path), os.O_WRONLY | os.O_CREAT)
    try:
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file with one a line, [] where there is no file; lines that are none are left out."""
    return records(read_bytes(path)) if path.exists() else []


def records(content: bytes) -> list[dict[str, Any]]:
    """The JSON objects of the lines of `content`; lines that are none are left out."""
    values = []
    for line in content.split(b"\n"):
        with suppress(ValueError):
            values.append(parse_json(line))
    return [value for value in values if isinstance(value, dict)]


def parse_json(content: bytes) -> Any:
    """The JSON value in UTF-8 bytes. Raises `ValueError`."""
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("too deeply nested") from None


def publish(temporary: Path, final: Path) -> None:
    """Renames a finished file or folder to its final name and makes the rename durable."""
    os.replace(temporary, final)
    sync_folder(final.parent)


def publish_new(temporary: Path, final: Path) -> None:
    """As `publish`, for a file that replaces none. Raises `FileExistsError`."""
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with open(final, "xb", opener=plain) as stream:
            stream.write(read_bytes(temporary))
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Flushes a folder's entries to the disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
