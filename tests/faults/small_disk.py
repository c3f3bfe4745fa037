"""A real disk of a few megabytes for tests: a tmpfs, which can be filled to its last byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_FILLER = "filler"


@contextmanager
def small_disk(folder: Path, size: int = 2 << 20, files: int = 500) -> Iterator[Path]:
    """Within it `folder` is a disk of `size` bytes. The test is skipped where none may be mounted."""
    folder.mkdir()
    options = f"size={size},nr_inodes={files}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    if mounted.returncode:
        pytest.skip(f"no disk may be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(folder: Path, but: int = 0) -> None:
    """Fills the disk of `folder` but for so many bytes."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    with suppress(OSError), open(folder / _FILLER, "ab", buffering=0) as filler:
        filler.write(bytes(max(0, free - but)))
    assert but or os.statvfs(folder).f_bavail == 0, "the disk is not full"


def emptied(folder: Path) -> None:
    """Makes room again."""
    (folder / _FILLER).unlink()
