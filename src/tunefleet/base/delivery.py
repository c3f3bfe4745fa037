"""Delivery into a folder that the user named: what is not ours stays, unless asked for."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunefleet.base import checksums, disk, files, modes, owner_lock, swap
from tunefleet.base.errors import RunError
from tunefleet.base.owner import Owner
from tunefleet.base.owner_lock import LockedError

RECORD = "tunefleet.json"
"""In every folder that was delivered: which files are ours, with their checksums, and what they are."""
_OF_EXPORTS = (".json", ".jinja", ".safetensors", ".model", "merges.txt", "vocab.txt", ".bin")
"""How names of files end that a later export may have."""
_SMALL = 1 << 24  # bytes: larger files are weights, which are not edited by hand


def expect_free(folder: Path, overwrite: bool = False) -> None:
    """Raises `RunError` unless `folder` is new, empty, or what `deliver` left there before; with `overwrite`, files of
    the same names may be replaced.
    """
    target = _expect_no_file(folder)
    parent = next(path for path in (target, *target.parents) if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: nothing can be written into {parent}. Name a folder where you may write.")
    if not overwrite and (foreign := _not_ours(target)):
        raise RunError(
            f"{folder}: holds {foreign[0]}, which no export left there{_and_more(foreign)}. Name a new or empty "
            "folder, or add --overwrite, which replaces files of the same names and leaves the others."
        )


def record(folder: Path) -> Mapping[str, Any] | None:
    """What `deliver` wrote down about `folder`; None where there is nothing that can be read."""
    try:
        content = files.read_json(folder / RECORD)
        is_record = all(map(checksums.is_checksum, content["files"].values())) and "complete" in content
        return content if is_record and all(map(_is_plain, content["files"])) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def staging(folder: Path, wait: float = 0.0) -> Iterator[Path]:
    """A new folder on the same disk as `folder`, to write into and then `deliver`; it is gone afterwards.

    One process at a time, on all machines that share the disk. Raises `RunError` where another one has `folder` for
    longer than `wait` seconds, or it is a file; `DiskError` where a library met a full or failing disk.
    """
    target = _expect_no_file(folder)
    with _locked(target, folder, wait):
        swap.recover(target)
        staged = swap.name_beside(target) if swap.can_replace(target) else target / swap.name_beside(target).name
        modes.make(staged)
        try:
            yield staged
        except Exception as error:
            if (failure := disk.recognised(error, target)) is not error:
                raise failure from error
            raise
        finally:
            shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def _locked(target: Path, folder: Path, wait: float) -> Iterator[None]:
    """The lock is beside `target`, which is renamed, where something can be written there."""
    parent = next(path for path in target.parents if path.exists())
    lock = (target.parent if os.access(parent, os.W_OK | os.X_OK) else target) / _lock_name(target)

    def print_waiting(owner: Owner) -> None:
        print(f"tunefleet: {folder}: waiting for what {owner.describe()} writes there", file=sys.stderr)

    try:
        with owner_lock.hold(lock, wait, notify=print_waiting if wait else None):
            yield
    except LockedError as error:
        raise RunError(
            f"{folder}: is being written by {error.owner.describe()}. Wait for it, or name another folder."
        ) from None


def _lock_name(target: Path) -> str:
    return f".{target.name}.lock"


def _expect_no_file(folder: Path) -> Path:
    target = folder.resolve()
    if target.exists() and not target.is_dir():
        raise RunError(f"{folder}: is a file. Name a folder, or move the file away.")
    return target


def deliver(staged: Path, folder: Path, facts: Mapping[str, Any]) -> None:
    """Gives all files of `staged` their place in `folder`, with the record of them and `facts`; they are on the disk
    before. Files of an earlier delivery that are not among the new ones go, others stay.

    The folder is the old one or the new one, whole, whatever happens meanwhile. Only one that cannot be renamed (the
    current folder, a mount) is changed file by file, and until all are there its record says that it is not complete.
    Raises `RunError` where a folder has the name of a new file.
    """
    target, names = folder.resolve(), checksums.names(staged)
    _expect_no_folders(target, [RECORD, *names])
    _open_to_others(staged)
    sums = {name: checksums.checksum(staged / name) for name in names}
    finished = {**facts, "complete": True, "written": time.time(), "files": sums}
    if staged.parent == target:
        _move_files(staged, target, finished)
        return
    files.write_json(staged / RECORD, finished)
    if target.exists():
        swap.link_others(target, staged, without=[RECORD, *sums, *_unchanged(target)])
    swap.sync(staged)
    swap.replace(staged, target)


def _expect_no_folders(target: Path, names: Iterable[str]) -> None:
    """Raises `RunError` where a folder has the name of a file that is delivered: what is in it is the user's."""
    for path in (target / name for name in names):
        if path.is_dir() and not path.is_symlink():
            raise RunError(f"{path}: is a folder, and a file of that name is to be written. Move the folder away.")


def _move_files(staged: Path, target: Path, finished: Mapping[str, Any]) -> None:
    swap.sync(staged)
    old, sums = _unchanged(target), finished["files"]
    recorded = dict((record(target) or {"files": {}})["files"])
    files.write_json(target / RECORD, {**finished, "complete": False, "files": {**recorded, **sums}})
    for name in sums:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / name, target / name)
    for name in old - sums.keys():
        (target / name).unlink(missing_ok=True)
    swap.sync_folders(target)
    files.write_json(target / RECORD, finished)


def _unchanged(target: Path) -> set[str]:
    """Names of files that were delivered before, and are as they were."""
    delivered: dict[str, Any] = (record(target) or {"files": {}})["files"]
    names = {name for name in delivered if (target / name).parent.resolve().is_relative_to(target)}  # behind no link
    return {name for name in names if not _is_changed(target, name, delivered[name])}


def _is_plain(name: str) -> bool:
    """Whether a recorded name is one below its folder."""
    return not os.path.isabs(name) and ".." not in Path(name).parts


def changes(folder: Path) -> list[str]:
    """What of a delivered folder is not as it was written, as `name: what`; every byte is read. Others' files are not
    looked at.
    """
    return checksums.changes(folder, (record(folder) or {"files": {}})["files"])


def quick_changes(folder: Path) -> list[str]:
    """Names of files that are gone, have another size, or are small and have other bytes; weights are not read."""
    recorded: dict[str, Any] = (record(folder) or {"files": {}})["files"]
    return [
        name for name in sorted(recorded) if not (folder / name).is_file() or _is_changed(folder, name, recorded[name])
    ]


def _not_ours(folder: Path) -> list[str]:
    """Names in `folder` that `deliver` did not leave there, or that were changed since."""
    if not folder.exists():
        return []
    delivered: dict[str, Any] = (record(folder) or {"files": {}})["files"]
    if not delivered:
        names = sorted(path.name for path in folder.iterdir())
        return [name for name in names if not (swap.is_leftover(name, folder) or name.startswith(_lock_name(folder)))]
    edited = [name for name, checksum in sorted(delivered.items()) if _is_changed(folder, name, checksum)]
    return edited + [
        path.name
        for path in sorted(folder.iterdir())
        if path.name not in delivered and path.name != RECORD and path.name.endswith(_OF_EXPORTS)
    ]


def _is_changed(folder: Path, name: str, recorded: Any) -> bool:
    path = folder / name
    if not path.exists():
        return False
    size = path.stat().st_size
    return bool(size != recorded[0] or (size <= _SMALL and checksums.change(path, recorded)))


def _open_to_others(folder: Path) -> None:
    """Gives every file the mode that the user's umask says: safetensors writes 0600."""
    probe = folder / ".mode"
    files.touch(probe)
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _and_more(names: list[str]) -> str:
    return f" (nor {len(names) - 1} more)" if len(names) > 1 else ""
