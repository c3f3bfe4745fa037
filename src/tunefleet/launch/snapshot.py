"""Snapshot of the code for a queued job: a copy of the project as it was, in a folder named by its content."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import tunefleet
from tunefleet.base import disk, files, modes
from tunefleet.base.errors import DiskError, RunError
from tunefleet.launch import project

_DIGITS = 16
_AT_ONCE = 16  # files being written
_FILE, _PROGRAM, _LINK = "file", "program", "link"


@dataclass(frozen=True)
class Snapshot:
    """The project's code as it was; `digest` names its content."""

    folder: Path
    digest: str

    @property
    def python_path(self) -> Path:
        """What PYTHONPATH begins with, so that a job imports this code before an installed one."""
        return self.folder / "src"


def take(repository: Path, store: Path, untracked: Sequence[str] = ()) -> Snapshot:
    """Copies the project's code into `store`; where the same content lies there already, it is shared.

    `untracked`: git's patterns of the files to copy that it does not track. No file is readable to more people in the
    copy than it was.

    Safe in many processes at once; killed at any moment, it leaves no half snapshot.
    Raises `RunError` where files that git does not track are too large, or a file cannot be read or written;
    `DiskError` where there is no room for them.
    """
    repository, store = Path(os.path.abspath(repository)), Path(os.path.abspath(store))
    if repository.parent == store:  # a job that submits others runs a snapshot itself
        return Snapshot(repository, repository.name)
    try:
        code_files = _read_all(project.sources(repository, store, untracked))
        digest = _digest(code_files)
        store_files(code_files, store / digest)
    except DiskError:
        raise
    except OSError as error:
        raise RunError(
            f"{error.filename or store}: {error.strerror or error}, so the code cannot be copied. "
            "Fix that, or train without a snapshot: launch.snapshot=false."
        ) from None
    return Snapshot(store / digest, digest)


def expect_imported(code: str) -> None:
    """Expects this process to run the code in the folder `code`, which is first in PYTHONPATH.

    Python falls back on an installed one where it is not there: where it was deleted, or on a machine that does not see
    the disk. Raises `RunError`.
    """
    imported = Path(tunefleet.__file__).resolve()
    if code and not imported.is_relative_to(Path(code).resolve()):
        raise RunError(
            f"the code that this job was to run is not there: {code}; Python would run {imported.parent}. Was it "
            "deleted, or does this machine not see that disk? Submit the run again, with the code as it is now: "
            "tunefleet resume"
        )


@dataclass(frozen=True)
class _File:
    """A file in memory, so that what is hashed is what is written, whoever edits meanwhile."""

    name: Path
    kind: str
    content: bytes
    mode: int = field(default=0o444, compare=False)
    """Permissions, without those to write."""

    @staticmethod
    def read(name: Path, path: Path) -> _File | None:
        """The file or link at `path`; None where there is none, as with a folder or a deleted file."""
        try:
            if path.is_symlink():
                return _File(name, _LINK, os.fsencode(os.readlink(path)))
            mode = path.stat().st_mode
            kind = _PROGRAM if mode & 0o100 else _FILE
            return _File(name, kind, files.read_bytes(path), mode & 0o555 | 0o400) if path.is_file() else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: Path) -> None:
        """Makes `path`, read-only and on the disk; it must not be there yet."""
        modes.make(path.parent)
        if self.kind == _LINK:
            path.symlink_to(os.fsdecode(self.content))
            return
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, self.mode)) as stream:
            stream.write(self.content)
            stream.flush()
            os.fsync(stream.fileno())

    def identity(self) -> bytes:
        """Content, kind and name, as no other file has them."""
        return f"{hashlib.sha256(self.content).hexdigest()} {self.kind} ".encode() + os.fsencode(self.name) + b"\0"


def _read_all(sources: Mapping[Path, Path]) -> list[_File]:
    """The files in the order of their names, none below a link: writing it would leave the snapshot."""
    read = [file for name, path in sorted(sources.items()) if (file := _File.read(name, path))]
    links = {file.name for file in read if file.kind == _LINK}
    return [file for file in read if links.isdisjoint(file.name.parents)]


def _digest(code_files: Sequence[_File]) -> str:
    return hashlib.sha256(b"".join(file.identity() for file in code_files)).hexdigest()[:_DIGITS]


def store_files(code_files: Sequence[_File], folder: Path) -> None:
    """Creates `folder` with these files, or puts back what was taken out of it."""
    if folder.is_dir():
        _repair(code_files, folder)
    else:
        create_folder(code_files, folder)


def create_folder(code_files: Sequence[_File], folder: Path) -> None:
    """Creates `folder` with these files, all at once; another submitter may be faster. Raises `OSError`."""
    temporary = _beside(folder)
    disk.expect_room(folder, sum(len(file.content) for file in code_files), files=len(code_files))
    try:
        with disk.writing(folder), ThreadPoolExecutor(_AT_ONCE) as pool:
            # one after another they would wait for the disk each
            list(pool.map(lambda file: file.write(temporary / file.name), code_files))
        files.publish(temporary, folder)
    except OSError:
        if not folder.is_dir():  # else another submitter was faster, with the same content
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _repair(code_files: Sequence[_File], folder: Path) -> None:
    """Puts back what is gone or changed: many clusters delete old files from their scratch disks."""
    for file in code_files:
        if _File.read(file.name, folder / file.name) != file:
            temporary = _beside(folder)
            file.write(temporary)
            modes.make((folder / file.name).parent)
            files.publish(temporary, folder / file.name)


def _beside(folder: Path) -> Path:
    """A name that no other process or machine takes."""
    return folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.tmp")
