"""Is a checkpoint complete or not there, found again, and refused where it is damaged or another run's?"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tunefleet.base import files
from tunefleet.base.errors import RunError
from tunefleet.base.sealed_files import SmallFile
from tunefleet.checkpoint import checkpoint_manifest, pointer, rng
from tunefleet.checkpoint.find_checkpoint import Checkpoint, newest
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import ByteStream, CheckpointFile, RunState
from tunefleet.engine.plain_model import SingleProcess


class Half(SmallFile):
    """A file whose disk is full before its end."""

    def write(self, stream: ByteStream) -> None:
        stream.write(self.content[:2])
        raise OSError(28, "No space left on device")


class Engine:
    """Writes one file, and remembers what it read."""

    def __init__(self, content: bytes = b"weights" * 1000, fails: bool = False, reshardable: bool = False) -> None:
        self.content = content
        self.reshardable = reshardable
        self.fails = fails
        self.step = -1

    def shards(self, tag: str) -> dict[str, CheckpointFile]:
        return {f"{tag}/weights.pt": Half(self.content) if self.fails else SmallFile(self.content)}

    def restore(self, folder: Path, tag: str, step: int) -> None:
        self.content = (folder / tag / "weights.pt").read_bytes()
        self.step = step

    def restore_resized(self, folder: Path, tag: str, step: int) -> None:
        self.restore(folder, tag, step)


def store(folder: Path, identity: str = "mine", keep: int = 2) -> CheckpointStore:
    return CheckpointStore(folder, identity, SingleProcess(), Retention(keep))


def newest_checkpoint(folder: Path, identity: str = "mine") -> Checkpoint:
    checkpoint = newest(folder, identity, SingleProcess())
    assert checkpoint is not None
    return checkpoint


def saved_by_four(folder: Path) -> None:
    """Writes the manifest of step 7 as four ranks would have, and its digest into the pointer."""
    written = checkpoint_manifest.read(folder / "step-00000007")
    digest = checkpoint_manifest.write(folder / "step-00000007", replace(written, ranks=4))
    pointer.write(folder, "step-00000007", digest, [])


STATE = RunState(step=7, position=56, tokens=1000, loss_tokens=400, skipped=1)


def test_what_was_saved_is_restored(tmp_path: Path) -> None:
    store(tmp_path).save(Engine(b"abc"), STATE)
    engine = Engine(b"")
    assert store(tmp_path).restore(engine) == STATE
    assert (engine.content, engine.step) == (b"abc", 7)
    assert (newest_checkpoint(tmp_path).shards / "weights.pt").read_bytes() == b"abc"


def test_nothing_saved_is_nothing_restored(tmp_path: Path) -> None:
    assert store(tmp_path).restore(Engine()) is None
    assert newest(tmp_path, "mine", SingleProcess()) is None


def test_random_states_resume(tmp_path: Path) -> None:
    rng.seed_all(3, rank=0)
    store(tmp_path).save(Engine(), STATE)
    drawn = (random.random(), float(np.random.rand()), torch.rand(3).tolist())
    rng.seed_all(4, rank=0)
    store(tmp_path).restore(Engine())
    assert (random.random(), float(np.random.rand()), torch.rand(3).tolist()) == drawn


def test_the_newest_counts_and_the_oldest_go(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        store(tmp_path).save(Engine(f"{step}".encode()), RunState(step=step))
    engine = Engine()
    assert store(tmp_path).restore(engine) == RunState(step=3)
    assert engine.content == b"3"
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000002", "step-00000003"]


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    store(tmp_path).save(Engine(b"good"), RunState(step=1))
    with pytest.raises(OSError, match="No space"):
        store(tmp_path).save(Engine(b"half", fails=True), RunState(step=2))
    engine = Engine()
    assert store(tmp_path).restore(engine) == RunState(step=1)
    assert engine.content == b"good"
    store(tmp_path).save(Engine(b"whole"), RunState(step=2))
    assert store(tmp_path).restore(engine) == RunState(step=2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("flipped", "changed since it was saved: 7000 bytes with SHA-256 [0-9a-f]{16}, expected 7000 bytes with"),
        ("shortened", "changed since it was saved: 6999 bytes"),
        ("removed", "missing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str, message: str) -> None:
    store(tmp_path).save(Engine(), STATE)
    path = newest_checkpoint(tmp_path).shards / "weights.pt"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    {
        "flipped": lambda: path.write_bytes(content),
        "shortened": lambda: path.write_bytes(content[:-1]),
        "removed": path.unlink,
    }[damage]()
    with pytest.raises(RunError, match=rf"none of the checkpoints.*weights\.pt: {message}"):
        store(tmp_path).restore(Engine())


def test_a_damaged_manifest_or_pointer_is_named(tmp_path: Path) -> None:
    store(tmp_path).save(Engine(), STATE)
    (tmp_path / "step-00000007" / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read"):
        store(tmp_path).restore(Engine())
    (tmp_path / "latest.json").write_text("not JSON")
    with pytest.raises(RunError, match=r"latest\.json: damaged"):
        store(tmp_path).restore(Engine())


def test_another_configuration_or_number_of_ranks_is_refused(tmp_path: Path) -> None:
    store(tmp_path).save(Engine(), STATE)
    with pytest.raises(RunError, match="another configuration"):
        store(tmp_path, identity="other").restore(Engine())
    saved_by_four(tmp_path)
    with pytest.raises(RunError, match=r"sharded over 4 ranks, and this run has 1.*launch\.processes=4"):
        store(tmp_path).restore(Engine())


def test_another_strategy_is_refused_for_its_strategy_where_its_shape_is_fixed(tmp_path: Path) -> None:
    """A plan.json that was torn and replaced may be of another strategy for the same trajectory."""
    saved, other = (
        CheckpointStore(tmp_path, identity, SingleProcess(), Retention(2), trajectory="one")
        for identity in ("tensor", "pipeline")
    )
    saved.save(Engine(), STATE)
    with pytest.raises(RunError, match="saved by another strategy") as refusal:
        other.restore(Engine())
    assert "ranks" not in str(refusal.value)
    assert other.restore(Engine(reshardable=True)) == STATE


def test_another_number_of_ranks_reseeds_where_the_engine_is_reshardable(tmp_path: Path) -> None:
    def draw(seed: int) -> list[float]:
        restored = CheckpointStore(tmp_path, "mine", SingleProcess(), Retention(2), seed=seed).restore(
            Engine(reshardable=True)
        )
        assert restored == STATE
        return torch.rand(3).tolist()

    rng.seed_all(3, rank=0)
    store(tmp_path).save(Engine(), STATE)
    same_ranks = draw(seed=3)
    saved_by_four(tmp_path)
    anew = draw(seed=3)
    assert anew != same_ranks
    assert anew == draw(seed=3) != draw(seed=4)
    rng.seed_all(3, rank=0)
    assert anew != torch.rand(3).tolist()  # not what the run drew at its start


def test_a_checkpoint_holds_the_texts_of_its_run(tmp_path: Path) -> None:
    texts = {"chat_template.jinja": "{{ messages }} 好"}
    CheckpointStore(tmp_path, "identity", SingleProcess(), Retention(1), texts).save(Engine(b"abc"), STATE)
    saved = newest_checkpoint(tmp_path, "identity").folder / "chat_template.jinja"
    assert saved.read_text(encoding="utf-8") == "{{ messages }} 好"
    saved.write_text("changed")
    with pytest.raises(RunError, match="changed since it was saved"):
        CheckpointStore(tmp_path, "identity", SingleProcess(), Retention(1), texts).restore(Engine())


def save(folder: Path, *steps: int, keep: int = 9) -> None:
    for step in steps:
        store(folder, keep=keep).save(Engine(f"{step}".encode()), RunState(step=step))


def restored(folder: Path) -> tuple[RunState | None, bytes, str]:
    engine, saved = Engine(b""), store(folder)
    return saved.restore(engine), engine.content, saved.note


def damage(folder: Path, step: int) -> None:
    (folder / f"step-{step:08d}" / "shards" / "weights.pt").write_bytes(b"?")


LYING = {
    "missing": lambda pointer: pointer.unlink(),
    "torn": lambda pointer: pointer.write_text('{"checkpo'),
    "binary": lambda pointer: pointer.write_bytes(b"\xff\x00"),
    "a list": lambda pointer: pointer.write_text("[]"),
    "a folder that is gone": lambda pointer: pointer.write_text('{"checkpoint": "step-00000099"}'),
    "outside": lambda pointer: pointer.write_text('{"checkpoint": "../elsewhere"}'),
}


@pytest.mark.parametrize("damage_kind", LYING)
def test_without_a_pointer_the_newest_that_is_whole_counts_and_it_is_said(tmp_path: Path, damage_kind: str) -> None:
    """The pointer's absence was a silent start from zero."""
    save(tmp_path, 5, 10, 15)
    damage(tmp_path, 15)
    LYING[damage_kind](tmp_path / "latest.json")
    state, content, note = restored(tmp_path)
    assert (state, content) == (RunState(step=10), b"10")
    assert "latest.json: " in note
    assert "step-00000015/shards/weights.pt: changed since it was saved" in note
    assert "Step 10 is the newest that is as it was saved" in note


def test_the_highest_step_counts_whatever_the_pointer_names(tmp_path: Path) -> None:
    """As after a kill between the commit and the move of the pointer."""
    save(tmp_path, 5, 10)
    files.write_json(tmp_path / "latest.json", {"checkpoint": "step-00000005"})
    state, content, note = restored(tmp_path)
    assert (state, content) == (RunState(step=10), b"10")
    assert "latest.json: names step-00000005, and step-00000010 is there" in note
    assert restored(tmp_path) == (RunState(step=10), b"10", "")  # it was moved


def test_where_none_is_whole_nothing_starts(tmp_path: Path) -> None:
    save(tmp_path, 5, 10)
    for step in (5, 10):
        damage(tmp_path, step)
    with pytest.raises(RunError, match=r"none of the checkpoints there can be used.*00000010.*00000005.*again from"):
        restored(tmp_path)


def test_a_pointer_to_nothing_does_not_start_from_zero(tmp_path: Path) -> None:
    files.write_json(tmp_path / "latest.json", {"checkpoint": "step-00000005"})
    with pytest.raises(RunError, match="names step-00000005, which is no checkpoint there"):
        restored(tmp_path)


EMPTY: Mapping[str, Any] = {"no files": {"files": {}}, "no ranks": {"ranks": 0}, "no state": {"state": {"stap": 1}}}


@pytest.mark.parametrize("damage_kind", EMPTY)
def test_a_manifest_that_vouches_for_nothing_is_no_checkpoint(tmp_path: Path, damage_kind: str) -> None:
    save(tmp_path, 5, 10)
    path = tmp_path / "step-00000010" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **EMPTY[damage_kind]}))
    state, content, note = restored(tmp_path)
    assert (state, content) == (RunState(step=5), b"5")
    assert "step-00000010/manifest.json: cannot be read" in note


def test_a_file_that_was_not_saved_is_not_read(tmp_path: Path) -> None:
    """DeepSpeed takes every file whose name fits."""
    save(tmp_path, 5, 10)
    (tmp_path / "step-00000010" / "shards" / "planted_optim_states.pt").write_bytes(b"")
    state, _, note = restored(tmp_path)
    assert state == RunState(step=5)
    assert "planted_optim_states.pt: was not there when it was saved" in note


def test_a_step_that_is_saved_again_is_replaced(tmp_path: Path) -> None:
    save(tmp_path, 5, 10)
    store(tmp_path).save(Engine(b"another ten"), RunState(step=10))
    assert restored(tmp_path) == (RunState(step=10), b"another ten", "")
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000005", "step-00000010"]


def test_what_was_just_saved_or_restored_is_not_written_again(tmp_path: Path) -> None:
    """A run that ends at a step that it has saved: the last bytes of it are on the disk."""
    first = store(tmp_path)
    first.save(Engine(b"ten"), RunState(step=10))
    first.save(Engine(b"not written"), RunState(step=10))
    (tmp_path / "latest.json").unlink()
    second = store(tmp_path)
    second.restore(Engine())
    second.save(Engine(b"not written"), RunState(step=10))
    assert restored(tmp_path) == (RunState(step=10), b"ten", "")  # and the pointer is back


def test_a_crash_while_a_step_is_replaced_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 10)
    publish = files.publish

    def crash(temporary: Path, final: Path) -> None:
        if temporary.name == "step-00000010.tmp":
            raise KeyboardInterrupt
        publish(temporary, final)

    monkeypatch.setattr(files, "publish", crash)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path).save(Engine(b"another ten"), RunState(step=10))
    monkeypatch.undo()
    state, content, note = restored(tmp_path)
    assert (state, content, note) == (RunState(step=10), b"10", "")
    assert (tmp_path / "step-00000010.replaced").is_dir()
    save(tmp_path, 10)
    assert restored(tmp_path) == (RunState(step=10), b"10", "")
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-00000010"]


@pytest.mark.parametrize(("keep", "remaining"), [(1, [15]), (2, [10, 15]), (3, [5, 10, 15])])
def test_the_highest_steps_stay(tmp_path: Path, keep: int, remaining: list[int]) -> None:
    save(tmp_path, 5, 10)
    save(tmp_path, 15, keep=keep)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [f"step-{step:08d}" for step in remaining]


@pytest.mark.parametrize("keep", [1, 2])
def test_what_was_just_saved_stays_although_there_are_higher_steps(tmp_path: Path, keep: int) -> None:
    """No run should come to this; a retention that trusted the names deleted what it had just written."""
    save(tmp_path, 10, 15)
    save(tmp_path, 7, keep=keep)
    assert (tmp_path / "step-00000007").is_dir()
    assert files.read_json(tmp_path / "latest.json")["checkpoint"] == "step-00000007"
    assert len(list(tmp_path.glob("step-*"))) == keep
