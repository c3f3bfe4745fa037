"""Which checkpoint does a pointer name, and when was each saved, without a look at the shards?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefleet.base import files
from tunefleet.checkpoint import find_checkpoint, folders


def saved(folder: Path, step: int, **manifest: object) -> Path:
    """A folder with the manifest of a checkpoint."""
    checkpoint = folder / f"step-{step:08d}"
    checkpoint.mkdir(parents=True)
    facts = {"state": {"step": step}, "identity": "mine", "ranks": 1, "files": {"a": [1, 1]}, **manifest}
    files.write_json(checkpoint / "manifest.json", facts)
    return checkpoint


def test_finished_checkpoints_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (10, 5):
        saved(tmp_path, step)
    (tmp_path / "step-00000015.tmp").mkdir()
    (tmp_path / "step-00000020").touch()
    assert [path.name for path in folders.checkpoints(tmp_path)] == ["step-00000005", "step-00000010"]


def test_the_latest_is_the_highest_step_that_has_a_manifest(tmp_path: Path) -> None:
    assert find_checkpoint.latest(tmp_path) == (0, 0.0)
    saved(tmp_path, 5, saved=12.5)
    manifest = saved(tmp_path, 10, saved=20.0) / "manifest.json"
    assert find_checkpoint.latest(tmp_path) == (10, 20.0)
    manifest.write_text("torn")
    assert find_checkpoint.latest(tmp_path) == (5, 12.5)


@pytest.mark.parametrize(("manifest", "time"), [({"saved": 3}, 3.0), ({}, 0.0), ({"saved": "yesterday"}, 0.0)])
def test_when_a_checkpoint_was_saved_is_zero_where_it_does_not_say(
    tmp_path: Path, manifest: dict[str, object], time: float
) -> None:
    saved(tmp_path, 5, **manifest)
    assert find_checkpoint.latest(tmp_path) == (5, time)
