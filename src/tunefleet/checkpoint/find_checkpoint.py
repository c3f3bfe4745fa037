"""The checkpoint to resume from: the one that the pointer names, or else the newest that verifies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunefleet.base import checksums, files
from tunefleet.base.checksums import Checksum
from tunefleet.base.errors import RunError
from tunefleet.contracts import Group, RunState

MANIFEST = "manifest.json"
POINTER = "latest.json"
SHARDS = "shards"
REPLACED = ".replaced"
"""The suffix of a folder while a newer save of the same step takes its place."""
_NAME = re.compile(rf"step-\d{{8}}({re.escape(REPLACED)})?")
_UNIVERSAL = "universal.tmp"  # a copy for another number of processes: written anew before it is read


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint every byte of which is as it was saved, by `ranks` processes."""

    folder: Path
    state: RunState
    ranks: int
    note: str = ""
    """Why it is this one, where the pointer does not name it."""

    @property
    def shards(self) -> Path:
        """The folder of DeepSpeed's files."""
        return self.folder / SHARDS


def newest(folder: Path, identity: str, group: Group) -> Checkpoint | None:
    """The checkpoint below `folder` to resume from, or None where nothing was ever saved there. Collective.

    Raises `RunError` where checkpoints exist and none of them can be used, or where they are those of another
    configuration than `identity`.
    """
    names, complaints = group.gather(_candidates(folder))[0]
    for name in names:
        checkpoint = _read(folder / name, identity, group)
        if isinstance(checkpoint, Checkpoint):
            return replace(checkpoint, note=_note(checkpoint, complaints))
        complaints.append(checkpoint)
    if complaints:
        raise RunError(
            f"{folder}: none of the checkpoints there can be used: {'; '.join(complaints)}. Put the files back, "
            "or remove the folder to start again from the first step."
        )
    return None


def checkpoints(folder: Path) -> list[Path]:
    """The folders of finished checkpoints below `folder`, the highest step last."""
    return sorted(path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir())


def pointed(folder: Path) -> str | None:
    """The folder's name in the pointer; None without a pointer. Raises `ValueError` where it is damaged."""
    try:
        name = str(files.read_json(folder / POINTER)["checkpoint"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / POINTER}: damaged: {error}") from None
    if not _NAME.fullmatch(name) or not (folder / name).is_dir():
        raise ValueError(f"{folder / POINTER}: names {name}, which is no checkpoint there")
    return name


def _candidates(folder: Path) -> tuple[list[str], list[str]]:
    """(names, the first to be tried first; what is wrong with the pointer)."""
    names = [path.name for path in reversed(checkpoints(folder))]
    try:
        first = pointed(folder)
    except ValueError as error:
        return names, [str(error)]
    if first is None:
        return names, [f"{folder / POINTER}: is missing"] if names else []
    return [first, *(name for name in names if name != first)], []


def _read(folder: Path, identity: str, group: Group) -> Checkpoint | str:
    """The checkpoint in `folder`, or why it cannot be used."""
    manifest, complaint = group.gather(_manifest(folder))[0]
    if complaint:
        return str(complaint)
    if manifest["identity"] != identity:
        raise RunError(f"{folder / MANIFEST}: of another configuration. Choose another name=...")
    if different := checksums.differences(own_checksums(folder, group), manifest["files"]):
        return f"{folder / different[0]}"
    return Checkpoint(folder, RunState(**manifest["state"]), manifest["ranks"])


def own_checksums(folder: Path, group: Group) -> dict[str, Checksum]:
    """The checksums of the files in `folder`; each rank reads its part of them. Collective."""
    names = checksums.names(folder, without=(MANIFEST, _UNIVERSAL))
    sums = {name: checksums.checksum(folder / name) for name in names[group.rank :: group.size]}
    return {name: value for part in group.gather(sums) for name, value in part.items()}


def _manifest(folder: Path) -> tuple[Mapping[str, Any], str]:
    """(the manifest of `folder`, why it cannot be used)."""
    try:
        manifest = files.read_json(folder / MANIFEST)
        RunState(**manifest["state"])
        for key, kind in (("identity", str), ("ranks", int), ("files", dict)):
            if not isinstance(manifest[key], kind) or not manifest[key]:
                raise ValueError(f"{key} is {manifest[key]!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {}, f"{folder / MANIFEST}: cannot be read: {error}"
    return manifest, ""


def _note(checkpoint: Checkpoint, complaints: list[str]) -> str:
    if not complaints:
        return ""
    newest_step = f"Step {checkpoint.state.step} is the newest that is as it was saved"
    return f"{'; '.join(complaints)}. {newest_step}: {checkpoint.folder}"


def latest(folder: Path) -> tuple[int, float]:
    """(step, when it was saved) of the checkpoint that the pointer names, unverified; (0, 0) where it names none."""
    try:
        name = pointed(folder)
    except ValueError:
        name = None
    if name is None:
        return 0, 0.0
    manifest, _ = _manifest(folder / name)
    return (int(manifest["state"]["step"]) if manifest else 0), saved_at(folder / name)[0]


def saved_at(folder: Path) -> tuple[float, str]:
    """When `folder` was saved, to sort by; a checkpoint that does not say is older than those that do."""
    manifest, _ = _manifest(folder)
    saved = manifest.get("saved")
    return (float(saved) if isinstance(saved, int | float) else 0.0), folder.name
