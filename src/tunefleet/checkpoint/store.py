"""Checkpoint store: saves and restores, with our own manifest and pointer; a checkpoint is complete or not there."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from tunefleet.base import checksums, disk, files
from tunefleet.base.checksums import Checksum
from tunefleet.base.errors import DiskError, RunError
from tunefleet.base.sealed_files import SmallFile
from tunefleet.checkpoint import checkpoint_manifest, find_checkpoint, folders, pointer, rng
from tunefleet.checkpoint.agreement import on_all, on_first
from tunefleet.checkpoint.background_save import BackgroundSave, Saved
from tunefleet.checkpoint.checkpoint_manifest import Manifest
from tunefleet.checkpoint.find_checkpoint import SHARDS, Checkpoint
from tunefleet.checkpoint.part import write
from tunefleet.checkpoint.retention import Retention, SavedCheckpoint, is_among_best, superfluous
from tunefleet.checkpoint.saved_checkpoints import saved_checkpoints
from tunefleet.checkpoint.state_snapshot import SnapshotMemory
from tunefleet.contracts import CheckpointFile, Engine, Group, RunState
from tunefleet.plan.paths import validation_splits


class CheckpointStore:
    """The checkpoints of a run below `folder`, of which those stay that `retention` names.

    `texts` are small files by name that every checkpoint holds; `seed` gives the random states of a rank without saved
    ones; the best are the best by `metric`.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        group: Group,
        retention: Retention,
        texts: Mapping[str, str] | None = None,
        seed: int = 0,
        metric: str = "",
        trajectory: str = "",
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._group = group
        self.retention = retention
        self._texts = texts or {}
        self._seed = seed
        self._trajectory = trajectory
        self.metric = metric
        self._evaluations: dict[int, Mapping[str, float]] = {}
        self.early_stopping: Mapping[str, float] = {}
        """What early stopping knows: saved and restored."""
        self._memory = SnapshotMemory()
        self._background: BackgroundSave | None = None
        self._on_disk: Saved | None = None  # the engine's step and its manifest's digest, where it is saved
        self.origin: Path | None = None
        """The checkpoint that was restored."""
        self.note = ""
        """Why it was not the one that was saved last; empty where it was."""

    def save(self, engine: Engine, state: RunState) -> None:
        """Saves all ranks' shards; they count when every byte is on the disk, and are there whatever happens then.

        A checkpoint of the same step is replaced, unless it is what this process has just saved or restored. Raises
        `DiskError`, on all ranks, where there is no room or writing fails on one: earlier checkpoints are as they were.
        """
        final = self._folder / folders.name_of(state.step)
        part = self._begun(final, engine, state.step)
        if part is None:
            return
        with self._giving_up(final):
            parts = on_all(self._group, final, lambda: write(_temporary(final), part))  # then all are on the disk
            sums = {name: checksum for part_sums in parts for name, checksum in part_sums.items()}
            manifest = self._manifest(state)
            self._on_disk = on_first(self._group, final, lambda: self._publish(final, manifest, sums))

    def save_beside(self, engine: Engine, state: RunState) -> None:
        """As `save`, of a copy in memory that is written beside the next steps; it counts when `advance` says so.

        An earlier one is over before: no two are written at once. Raises `DiskError`, on all ranks.
        """
        final = self._folder / folders.name_of(state.step)
        part = self._begun(final, engine, state.step)
        if part is None:
            return
        copies, manifest = self._memory.copied(part), self._manifest(state)
        self._background = BackgroundSave(
            self._group,
            final,
            state.step,
            lambda: write(_temporary(final), copies),
            lambda sums: self._publish(final, manifest, sums),
        )

    def advance(self, wait: bool = False) -> int | None:
        """The step of a save beside training that counts from now on; None where there is none, or it goes on.

        To be called between two steps, on every rank; with `wait` it returns when the save is over. Raises `DiskError`,
        on all ranks, where one of them could not write: the part is removed. Collective while a save goes on.
        """
        if self._background is None:
            return None
        save, self._background = self._background, None
        with self._giving_up(self._folder / folders.name_of(save.step)):
            saved = save.advance(wait)
        if saved is None:
            self._background = save
            return None
        self._on_disk = saved
        return save.step

    def restore(self, engine: Engine) -> RunState | None:
        """Resumes from the newest checkpoint: weights, optimizer, random states; returns its state.

        None where nothing was ever saved. Another number of ranks than saved it reseeds, from the seed and the
        step. Those of higher steps that are not as they were saved are set aside: renamed. Raises `RunError` where no
        checkpoint is as it was saved, or where this number of ranks cannot read it.
        """
        self.advance(wait=True)
        checkpoint = find_checkpoint.newest(self._folder, self._identity, self._group, self._trajectory)
        if checkpoint is None:
            return None
        same_ranks = checkpoint.ranks == self._group.size
        same_shape = same_ranks and checkpoint.same_strategy
        if not same_shape and not engine.reshardable:
            raise RunError(f"{checkpoint.folder}: {self._why_not(checkpoint)}")
        restore = engine.restore if same_shape else engine.restore_resized
        restore(checkpoint.folder, SHARDS, checkpoint.state.step)
        self._restore_rng(checkpoint, same_ranks)
        self._on_disk = (checkpoint.state.step, checkpoint.digest) if same_shape else None
        self.early_stopping = checkpoint.early_stopping
        self.note, self.origin = checkpoint.note + self._set_aside(checkpoint), checkpoint.folder
        return checkpoint.state

    def _why_not(self, checkpoint: Checkpoint) -> str:
        """Why this run, whose shape is fixed, cannot resume from another one, and the next move."""
        if checkpoint.same_strategy:
            return (
                f"sharded over {checkpoint.ranks} ranks, and this run has {self._group.size}. "
                f"Only as many can resume: launch.processes={checkpoint.ranks}."
            )
        return (
            "saved by another strategy (its machine.json names it), and this one reads its own alone. Resume with "
            "that parallel=, or start a new run with name=ANOTHER."
        )

    def measured(self, step: int, evaluation: Mapping[str, float]) -> None:
        """Takes what was measured at `step`, as `SPLIT/loss`."""
        self._evaluations[step] = evaluation

    @property
    def saved(self) -> list[SavedCheckpoint]:
        """The checkpoints that count, as this rank sees them."""
        return saved_checkpoints(self._folder, self.metric, self._evaluations)

    def is_best_due(self, step: int) -> bool:
        """Whether the evaluation at `step` is one of the best, which are saved. Collective."""
        cost = validation_splits.cost(self.metric, self._evaluations.get(step, {}).get(self.metric, math.nan))
        is_due = self.retention.best and math.isfinite(cost) and is_among_best(cost, self.saved, self.retention)
        return bool(self._group.gather(is_due)[0])

    def tidy(self) -> None:
        """Removes what need not stay, now that another checkpoint was measured. Raises `DiskError`. Collective."""
        if self._on_disk:
            on_first(self._group, self._folder, self._remove_old)

    def _begun(self, final: Path, engine: Engine, step: int) -> dict[str, CheckpointFile] | None:
        """This rank's files, for which there is a folder with room; None where `final` is there already. Collective."""
        self.advance(wait=True)
        if self._is_on_disk(final, step):
            return None
        part = self._part(engine)
        with self._giving_up(final):
            self._begin(final, part)
        return part

    def _part(self, engine: Engine) -> dict[str, CheckpointFile]:
        """This rank's files, by name. Collective."""
        texts = self._texts if self._group.rank == 0 else {}
        return {
            **{name: SmallFile(text.encode("utf-8")) for name, text in texts.items()},
            **engine.shards(SHARDS),
            rng.file_name(self._group.rank): SmallFile(rng.to_bytes(rng.capture())),
        }

    def _begin(self, final: Path, part: Mapping[str, CheckpointFile]) -> None:
        """An empty folder for the parts of all ranks, where the disk has room for them. Collective."""
        sizes = list(chain.from_iterable(self._group.gather([file.size for file in part.values()])))

        def make() -> None:
            folders.remove_leftovers(self._folder)
            disk.expect_room(final, sum(sizes), files=len(sizes) + 1)
            _temporary(final).mkdir(parents=True)

        on_first(self._group, final, make)

    def _publish(self, final: Path, manifest: Manifest, sums: dict[str, Checksum]) -> Saved:
        """What counts now."""
        digest = self._commit(_temporary(final), final, replace(manifest, files=sums))
        self._point(final, digest)
        self._remove_old()
        return manifest.state.step, digest

    @contextmanager
    def _giving_up(self, final: Path) -> Iterator[None]:
        """Within it, what all ranks raise tells what there is to resume from; the part is removed. Collective then."""
        try:
            yield
        except DiskError as error:
            step = 0
            if self._group.rank == 0:
                shutil.rmtree(_temporary(final), ignore_errors=True)
                step, _ = find_checkpoint.latest(self._folder)
            step = self._group.gather(step)[0]
            resumable = f"The checkpoint of step {step} is whole, and the same command goes on from there."
            next_move = resumable if step else "Nothing is saved yet: the same command begins again."
            raise DiskError(f"{error} {next_move}", error.errno or 0, agreed=True) from None

    def _restore_rng(self, checkpoint: Checkpoint, same_ranks: bool) -> None:
        if same_ranks:
            rng.restore(rng.read(checkpoint.folder, self._group.rank))
        else:
            rng.seed_all(self._seed, self._group.rank, checkpoint.state.step)

    def _manifest(self, state: RunState) -> Manifest:
        """What is known before the files are."""
        evaluation = self._evaluations.get(state.step, {})
        measured = {name: value for name, value in evaluation.items() if math.isfinite(value)}
        return Manifest(
            state, self._identity, self._group.size, time.time(), {}, measured, self.early_stopping, self._trajectory
        )

    def _commit(self, temporary: Path, final: Path, saved: Manifest) -> str:
        """From the last rename on the checkpoint counts; returns the digest of its manifest."""
        unknown = set(checksums.names(temporary)) ^ saved.files.keys()
        assert not unknown, f"written by nobody, or by somebody else: {sorted(unknown)}"
        for folder in (*(path for path in temporary.rglob("*") if path.is_dir()), temporary, self._folder.parent):
            files.sync_folder(folder)
        digest = checkpoint_manifest.write(temporary, saved)
        if final.exists():
            self._make_way(final)
        files.publish(temporary, final)
        return digest

    def _make_way(self, final: Path) -> None:
        """What is there of the same step counts until the new one is."""
        replaced = final.with_name(final.name + folders.REPLACED)
        if replaced.exists():
            folders.remove(replaced)
        files.publish(final, replaced)
        pointer.follow(self._folder, final.name, replaced.name)

    def _is_on_disk(self, final: Path, step: int) -> bool:
        """Whether the engine's state is in `final`, to which the pointer then points again. Collective."""
        saved_step, digest = self._on_disk or (None, "")
        if not self._group.gather(saved_step == step and final.is_dir())[0]:
            return False
        on_first(self._group, final, lambda: self._point(final, digest))
        return True

    def _point(self, final: Path, digest: str) -> None:
        names = [path.name for path in folders.checkpoints(self._folder)]
        pointer.write(self._folder, final.name, digest, names)

    def _remove_old(self) -> None:
        """Removes what `retention` gives up; never what the pointer names, which is what was saved last."""
        pointed = pointer.read(self._folder)
        final = self._folder / (pointed.checkpoint if pointed else "")
        if not pointed or not checkpoint_manifest.is_complete(final):
            return
        replaced = [path.name for path in self._folder.glob(f"step-*{folders.REPLACED}")]
        saved = [checkpoint for checkpoint in self.saved if checkpoint.name not in replaced]
        for name in [*replaced, *superfluous(saved, self.retention, {final.name})]:
            folders.remove(self._folder / name)

    def _set_aside(self, checkpoint: Checkpoint) -> str:
        """Renames the damaged ones, and points to the one that is used; what there is to say about it. Collective."""
        names = []
        if self._group.rank == 0 and checkpoint.note:
            with suppress(OSError):  # a folder that cannot be written: saving will say so
                names = [folders.set_aside(path).name for path in checkpoint.damaged]
                self._point(checkpoint.folder, checkpoint.digest)
        names = self._group.gather(names)[0]
        return f". Set aside as {', '.join(names)}" if names else ""


def _temporary(final: Path) -> Path:
    """The folder of a checkpoint while it is written."""
    return final.with_suffix(folders.UNFINISHED)
