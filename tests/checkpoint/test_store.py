"""Is a checkpoint whole or not there, found again, and refused where it is damaged or somebody else's?"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tunefleet.base.errors import RunError
from tunefleet.checkpoint import randomness
from tunefleet.checkpoint.store import CheckpointStore, shards_of_latest
from tunefleet.engine.plain import Alone
from tunefleet.plan.contracts import RunState


class Engine:
    """Writes one file, and remembers what it read."""

    def __init__(self, content: bytes = b"weights" * 1000, fails: bool = False, any_size: bool = False) -> None:
        self.content = content
        self.any_size = any_size
        self.fails = fails
        self.step = -1

    def save(self, folder: Path, tag: str) -> None:
        (folder / tag).mkdir()
        (folder / tag / "weights.pt").write_bytes(self.content)
        if self.fails:
            raise OSError("No space left on device")

    def restore(self, folder: Path, tag: str, step: int) -> None:
        self.content = (folder / tag / "weights.pt").read_bytes()
        self.step = step

    def restore_resized(self, folder: Path, tag: str, step: int) -> None:
        self.restore(folder, tag, step)


def store(folder: Path, identity: str = "mine", keep: int = 2) -> CheckpointStore:
    return CheckpointStore(folder, identity, Alone(), keep)


STATE = RunState(step=7, position=56, tokens=1000, learning_tokens=400, skipped=1)


def test_what_was_saved_is_restored(tmp_path: Path) -> None:
    store(tmp_path).save(Engine(b"abc"), STATE)
    engine = Engine(b"")
    assert store(tmp_path).restore(engine) == STATE
    assert (engine.content, engine.step) == (b"abc", 7)
    assert (shards_of_latest(tmp_path) / "weights.pt").read_bytes() == b"abc"


def test_nothing_saved_is_nothing_restored(tmp_path: Path) -> None:
    assert store(tmp_path).restore(Engine()) is None
    with pytest.raises(RunError, match="no checkpoint there"):
        shards_of_latest(tmp_path)


def test_random_states_go_on(tmp_path: Path) -> None:
    randomness.seed_all(3, rank=0)
    store(tmp_path).save(Engine(), STATE)
    drawn = (random.random(), float(np.random.rand()), torch.rand(3).tolist())
    randomness.seed_all(4, rank=0)
    store(tmp_path).restore(Engine())
    assert (random.random(), float(np.random.rand()), torch.rand(3).tolist()) == drawn


def test_ranks_draw_differently(tmp_path: Path) -> None:
    draws = []
    for rank in (0, 1, 0):
        randomness.seed_all(3, rank)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[2] != draws[1]


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


@pytest.mark.parametrize("damage", ["flipped", "shortened", "removed"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    store(tmp_path).save(Engine(), STATE)
    path = shards_of_latest(tmp_path) / "weights.pt"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    {
        "flipped": lambda: path.write_bytes(content),
        "shortened": lambda: path.write_bytes(content[:-1]),
        "removed": path.unlink,
    }[damage]()
    with pytest.raises(RunError, match=r"weights\.pt: missing or changed.*latest\.json"):
        store(tmp_path).restore(Engine())


def test_a_damaged_manifest_or_pointer_is_named(tmp_path: Path) -> None:
    store(tmp_path).save(Engine(), STATE)
    manifest = tmp_path / "step-00000007" / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read"):
        store(tmp_path).restore(Engine())
    (tmp_path / "latest.json").write_text("not JSON")
    with pytest.raises(RunError, match=r"latest\.json: damaged"):
        store(tmp_path).restore(Engine())


def test_another_configuration_or_number_of_ranks_is_refused(tmp_path: Path) -> None:
    store(tmp_path).save(Engine(), STATE)
    with pytest.raises(RunError, match="another configuration"):
        store(tmp_path, identity="other").restore(Engine())
    manifest = tmp_path / "step-00000007" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "ranks": 4}))
    with pytest.raises(RunError, match=r"shared out among 4 ranks, and this run has 1.*launch\.processes=4"):
        store(tmp_path).restore(Engine())


def test_another_number_of_ranks_draws_anew_where_the_engine_can_go_on(tmp_path: Path) -> None:
    def draw(seed: int) -> list[float]:
        restored = CheckpointStore(tmp_path, "mine", Alone(), 2, seed=seed).restore(Engine(any_size=True))
        assert restored == STATE
        return torch.rand(3).tolist()

    randomness.seed_all(3, rank=0)
    store(tmp_path).save(Engine(), STATE)
    same = draw(seed=3)
    manifest = tmp_path / "step-00000007" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "ranks": 4}))
    anew = draw(seed=3)
    assert anew != same
    assert anew == draw(seed=3) != draw(seed=4)
    randomness.seed_all(3, rank=0)
    assert anew != torch.rand(3).tolist()  # not what the run drew at its start


def test_a_checkpoint_holds_the_texts_of_its_run(tmp_path: Path) -> None:
    texts = {"chat_template.jinja": "{{ messages }} 好"}
    CheckpointStore(tmp_path, "identity", Alone(), 1, texts).save(Engine(b"abc"), STATE)
    saved = shards_of_latest(tmp_path).parent / "chat_template.jinja"
    assert saved.read_text(encoding="utf-8") == "{{ messages }} 好"
    saved.write_text("changed")
    with pytest.raises(RunError, match="changed since it was saved"):
        CheckpointStore(tmp_path, "identity", Alone(), 1, texts).restore(Engine())
