"""Checkpoint store: saves and restores, with our own manifest and pointer; a checkpoint is complete or not there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from tunefleet.base import files
from tunefleet.base.checksums import Checksum
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import find_checkpoint, rng
from tunefleet.checkpoint.find_checkpoint import MANIFEST, POINTER, REPLACED, SHARDS, Checkpoint
from tunefleet.contracts import Engine, Group, RunState


class CheckpointStore:
    """The checkpoints of a run below `folder`; the `keep` saved last stay. Every method is collective.

    `texts` are small files by name that every checkpoint holds; `seed` gives the random states of a rank without saved
    ones.
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
        self.keep = keep
        self._texts = texts or {}
        self._seed = seed
        self._step: int | None = None  # the engine's step, where that is on the disk
        self.origin: Path | None = None
        """The checkpoint that was restored."""
        self.note = ""
        """Why another checkpoint was restored than the pointer names; empty where it is the pointer's."""

    def save(self, engine: Engine, state: RunState) -> None:
        """Saves all ranks' shards; the pointer moves only when every byte is on the disk.

        A checkpoint of the same step is replaced, unless it is what this process has just saved or restored.
        """
        final = self._folder / f"step-{state.step:08d}"
        if self._step == state.step:
            self._point(final)
            return
        temporary = final.with_suffix(".tmp")
        self._clear(temporary)
        engine.save(temporary, SHARDS)
        torch.save(rng.capture(), temporary / f"random-{self._group.rank}.pt")
        self._group.barrier()
        sums = find_checkpoint.own_checksums(temporary, self._group)
        if self._group.rank == 0:
            self._publish(temporary, final, state, sums)
        self._group.barrier()
        self._step = state.step

    def restore(self, engine: Engine) -> RunState | None:
        """Resumes from the newest checkpoint: weights, optimizer, random states; returns its state.

        None where nothing was ever saved. Another number of ranks than saved it reseeds, from the seed and the
        step. Raises `RunError` where no checkpoint is as it was saved, or where this number of ranks cannot read it.
        """
        checkpoint = find_checkpoint.newest(self._folder, self._identity, self._group)
        if checkpoint is None:
            return None
        same_ranks = checkpoint.ranks == self._group.size
        if not same_ranks and not engine.reshardable:
            raise RunError(
                f"{checkpoint.folder}: sharded over {checkpoint.ranks} ranks, and this run has {self._group.size}. "
                f"Only as many can resume: launch.processes={checkpoint.ranks}."
            )
        restore = engine.restore if same_ranks else engine.restore_resized
        restore(checkpoint.folder, SHARDS, checkpoint.state.step)
        self._restore_rng(checkpoint, same_ranks)
        self._step = checkpoint.state.step if same_ranks else None
        self.note, self.origin = checkpoint.note, checkpoint.folder
        return checkpoint.state

    def _restore_rng(self, checkpoint: Checkpoint, same_ranks: bool) -> None:
        if same_ranks:
            saved = checkpoint.folder / f"random-{self._group.rank}.pt"
            rng.restore(torch.load(saved, weights_only=True))
        else:
            rng.seed_all(self._seed, self._group.rank, checkpoint.state.step)

    def _clear(self, temporary: Path) -> None:
        if self._group.rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for name, text in self._texts.items():
                files.write_text(temporary / name, text)
        self._group.barrier()

    def _publish(self, temporary: Path, final: Path, state: RunState, sums: dict[str, Checksum]) -> None:
        manifest = {
            "state": asdict(state),
            "identity": self._identity,
            "ranks": self._group.size,
            "saved": time.time(),
            "files": sums,
        }
        files.write_json(temporary / MANIFEST, manifest)
        if final.exists():
            shutil.rmtree(final.with_name(final.name + REPLACED), ignore_errors=True)
            files.publish(final, final.with_name(final.name + REPLACED))  # it counts until the new one is there
        files.publish(temporary, final)
        files.write_json(self._folder / POINTER, {"checkpoint": final.name})
        self._remove_old(final)

    def _point(self, final: Path) -> None:
        if self._group.rank == 0:
            files.write_json(self._folder / POINTER, {"checkpoint": final.name})
        self._group.barrier()

    def _remove_old(self, newest: Path) -> None:
        """Removes all but `newest` and those saved last; the names of their steps do not tell which these are."""
        older = [path for path in find_checkpoint.checkpoints(self._folder) if path != newest]
        replaced = [path for path in older if path.name.endswith(REPLACED)]
        by_age = sorted((path for path in older if path not in replaced), key=find_checkpoint.saved_at, reverse=True)
        for old in [*replaced, *by_age[self.keep - 1 :]]:
            shutil.rmtree(old)
