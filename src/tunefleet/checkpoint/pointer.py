"""Pointer: latest.json, the name of the checkpoint that was saved last, with the digests of all manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunefleet.base import files

FILE = "latest.json"


@dataclass(frozen=True)
class Pointer:
    """The folder saved last, and the SHA-256 of manifests by folder, of which version 0.1 wrote none."""

    checkpoint: str
    manifests: Mapping[str, str] = field(default_factory=dict)


def read(folder: Path) -> Pointer | None:
    """The pointer in `folder`; None without one. Raises `ValueError`, with the reason, where it is damaged."""
    try:
        record = files.read_json(folder / FILE)
        manifests = dict(record.get("manifests", {}))
        if not all(isinstance(text, str) for text in (record["checkpoint"], *manifests.values())):
            raise TypeError("not names and digests")
        return Pointer(record["checkpoint"], manifests)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / FILE}: damaged: {error}") from None


def write(folder: Path, checkpoint: str, digest: str, names: Iterable[str]) -> None:
    """Points to `checkpoint`, whose manifest has `digest`; the digests of `names`, the others there, stay."""
    manifests = _manifests(folder)
    digests = {name: manifests[name] for name in names if name in manifests} | {checkpoint: digest}
    _write(folder, checkpoint, digests)


def follow(folder: Path, checkpoint: str, new_name: str) -> None:
    """Where the pointer knows `checkpoint`, it is called `new_name` from now on; its old name is free for another."""
    manifests = _manifests(folder)
    if checkpoint in manifests:
        digest = manifests.pop(checkpoint)
        _write(folder, new_name, {**manifests, new_name: digest})


def _manifests(folder: Path) -> dict[str, str]:
    """The digests that a whole pointer knows."""
    try:
        pointed = read(folder)
    except ValueError:
        pointed = None
    return dict(pointed.manifests) if pointed else {}


def _write(folder: Path, checkpoint: str, manifests: Mapping[str, str]) -> None:
    files.write_json(folder / FILE, {"checkpoint": checkpoint, "manifests": manifests})
