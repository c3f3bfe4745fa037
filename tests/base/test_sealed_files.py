"""Sealed files: their bytes and checksums, and whose memory it is meanwhile."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.small_disk import filled, small_disk
from tunefleet.base.errors import DiskError
from tunefleet.base.sealed_files import SealedFile, Sealing

MEBIBYTE = 1 << 20
PIECES = [b"head", bytes(range(256)) * 4096 * 3, b"x" * 1000, b"y" * MEBIBYTE, b"z" * (MEBIBYTE - 1), b"", b"end"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_checksums_are_those_of_the_files(tmp_path: Path, is_kept: bool) -> None:
    with Sealing() as sealing:
        sealed = []
        for number in range(5):
            with sealing.file(tmp_path / str(number)) as stream:
                for piece in PIECES[: number + 3]:
                    stream.write_kept(piece) if is_kept else stream.write(piece)
            sealed.append(stream)
        checksums = [stream.checksum() for stream in sealed]
    for number, checksum in enumerate(checksums):
        content = b"".join(PIECES[: number + 3])
        assert (tmp_path / str(number)).read_bytes() == content
        assert checksum == [len(content), hashlib.sha256(content).hexdigest()]


@pytest.mark.parametrize("is_kept", [False, True])
def test_memory_is_the_callers_again_unless_it_is_kept(tmp_path: Path, is_kept: bool) -> None:
    memory, change, path = bytearray(MEBIBYTE), threading.Event(), tmp_path / "file"
    with ThreadPoolExecutor(1) as hashing, ThreadPoolExecutor(1) as syncing:
        hashing.submit(change.wait, 0.5)  # hashing is behind
        with SealedFile(path, 0, hashing, syncing) as stream:
            stream.write_kept(memory) if is_kept else stream.write(memory)
            memory[:] = b"x" * MEBIBYTE
        change.set()
        checksum = stream.checksum()
    assert path.read_bytes() == bytes(MEBIBYTE)
    assert (checksum[1] == hashlib.sha256(bytes(MEBIBYTE)).hexdigest()) is not is_kept


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        filled(disk)
        with Sealing() as sealing, pytest.raises(DiskError, match=r"a\.bin"), sealing.file(disk / "a.bin") as stream:
            stream.write(b"x" * MEBIBYTE)
        with Sealing() as sealing:
            with sealing.file(disk / "b.bin") as stream:
                stream.write(b"x")  # in a buffer of Python's until the end
            with pytest.raises(DiskError, match=r"b\.bin"):
                stream.checksum()
