"""Where a run can go on: checkpoints with our own manifest and pointer, whole or not there at all."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tunefleet.base import files
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import randomness
from tunefleet.plan.contracts import Engine, Group, RunState

_MANIFEST = "manifest.json"
_POINTER = "latest.json"
_SHARDS = "shards"
_BLOCK = 1 << 22


class CheckpointStore:
    """The checkpoints of a run below `folder`; `keep` newest ones stay. Every method is collective.

    `texts` are small files by name that every checkpoint holds; from `seed` a rank draws that was not there before.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        group: Group,
        keep: int,
        texts: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._group = group
        self._keep = keep
        self._texts = texts or {}
        self._seed = seed

    def save(self, engine: Engine, state: RunState) -> None:
        """Saves all ranks' shards; the pointer moves only when every byte is on the disk."""
        final = self._folder / f"step-{state.step:08d}"
        if (final / _MANIFEST).exists():
            return
        temporary = final.with_suffix(".tmp")
        self._clear(temporary)
        engine.save(temporary, _SHARDS)
        torch.save(randomness.capture(), temporary / f"random-{self._group.rank}.pt")
        self._group.barrier()
        sums = self._checksums(temporary)
        if self._group.rank == 0:
            self._publish(temporary, final, state, sums)
        self._group.barrier()

    def restore(self, engine: Engine) -> RunState | None:
        """Goes on from the newest checkpoint: weights, optimizer, random states; returns its state.

        Another number of ranks than saved it draws anew, from the seed and the step. Raises `RunError` where a file is
        missing or changed, or where this number of ranks cannot read it.
        """
        folder = _pointed(self._folder)
        if folder is None:
            return None
        manifest = self._manifest(folder)
        same = manifest["ranks"] == self._group.size
        if not same and not engine.any_size:
            raise RunError(
                f"{folder}: shared out among {manifest['ranks']} ranks, and this run has {self._group.size}. "
                f"Only as many can go on: launch.processes={manifest['ranks']}."
            )
        self._check(folder, manifest)
        state = RunState(**manifest["state"])
        (engine.restore if same else engine.restore_resized)(folder, _SHARDS, state.step)
        self._draw_on(folder, state.step, same)
        return state

    def _draw_on(self, folder: Path, step: int, same: bool) -> None:
        if same:
            saved = folder / f"random-{self._group.rank}.pt"
            randomness.restore(torch.load(saved, weights_only=True))
        else:
            randomness.seed_all(self._seed, self._group.rank, step)

    def _clear(self, temporary: Path) -> None:
        if self._group.rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for name, text in self._texts.items():
                files.write_text(temporary / name, text)
        self._group.barrier()

    def _checksums(self, folder: Path) -> dict[str, list[int]]:
        """{file: [bytes, CRC-32]} of what lies in `folder`; each rank reads its share of the files."""
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        own = {name: _checksum(folder / name) for name in names[self._group.rank :: self._group.size]}
        return {name: value for part in self._group.gather(own) for name, value in part.items()}

    def _publish(self, temporary: Path, final: Path, state: RunState, sums: dict[str, list[int]]) -> None:
        manifest = {
            "state": asdict(state),
            "identity": self._identity,
            "ranks": self._group.size,
            "files": sums,
        }
        files.write_json(temporary / _MANIFEST, manifest)
        shutil.rmtree(final, ignore_errors=True)
        files.publish(temporary, final)
        files.write_json(self._folder / _POINTER, {"checkpoint": final.name})
        for old in sorted(self._folder.glob("step-????????"))[: -self._keep]:
            shutil.rmtree(old)

    def _manifest(self, folder: Path) -> dict[str, Any]:
        path = folder / _MANIFEST
        try:
            manifest: dict[str, Any] = files.read_json(path)
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"{path}: cannot be read: {error}. {self._next_move()}") from None
        if manifest["identity"] != self._identity:
            raise RunError(f"{path}: of another configuration. Choose another name=...")
        return manifest

    def _check(self, folder: Path, manifest: dict[str, Any]) -> None:
        now = self._checksums(folder)
        bad = [name for name, expected in manifest["files"].items() if now.get(name) != expected]
        if bad:
            raise RunError(f"{folder / bad[0]}: missing or changed since it was saved. {self._next_move()}")

    def _next_move(self) -> str:
        others = [path.name for path in sorted(self._folder.glob("step-????????"))]
        return (
            f"Checkpoints there: {', '.join(others) or 'none'}. Name another one in "
            f"{self._folder / _POINTER}, or remove the folder to start again."
        )


def shards_of_latest(checkpoints: Path) -> Path:
    """The folder of DeepSpeed's files of the newest checkpoint. Raises `RunError` where there is none."""
    folder = _pointed(checkpoints)
    if folder is None:
        raise RunError(f"{checkpoints}: no checkpoint there. Train first, or set checkpoint.at_end=true.")
    return folder / _SHARDS


def _pointed(checkpoints: Path) -> Path | None:
    pointer = checkpoints / _POINTER
    if not pointer.exists():
        return None
    try:
        return checkpoints / str(files.read_json(pointer)["checkpoint"])
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise RunError(f"{pointer}: damaged: {error}. Write the name of a step-... folder into it.") from None


def _checksum(path: Path) -> list[int]:
    """[bytes, CRC-32] of a file."""
    size = total = 0
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            size, total = size + len(block), zlib.crc32(block, total)
    return [size, total]
