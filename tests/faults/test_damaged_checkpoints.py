"""Which checkpoint counts where something was damaged from outside: what is named, set aside, used, or refused?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.faults.saver import Engine, store
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import find_checkpoint, folders
from tunefleet.contracts import RunState
from tunefleet.engine.plain_model import SingleProcess

SHARD = "shards/mp_rank_00_model_states.pt"
DEEP = "[" * 100_000 + "]" * 100_000


def edit(**changes: object) -> Callable[[Path], None]:
    """A change of the fields of a JSON file; None takes a field out."""

    def act(path: Path) -> None:
        record = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))

    return act


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def replace_by(content: bytes | str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return act


CHANGED = "changed since it was saved: .*SHA-256 [0-9a-f]{16}, expected .*[0-9a-f]{16}"
CHECKPOINT: Mapping[str, tuple[str, Callable[[Path], None], str]] = {
    # what: file, how it is damaged, what is said about it
    "manifest edited": ("manifest.json", edit(state={"step": 20, "position": 99}), CHANGED),
    "manifest of another step": ("manifest.json", edit(state={"step": 30}), CHANGED),
    "manifest without state": ("manifest.json", edit(state=None), "cannot be read: 'state' is missing"),
    "manifest without identity": ("manifest.json", edit(identity=None), "cannot be read: 'identity' is missing"),
    "manifest without ranks": ("manifest.json", edit(ranks=None), "cannot be read: 'ranks' is missing"),
    "manifest without files": ("manifest.json", edit(files=None), "cannot be read: 'files' is missing"),
    "manifest of no files": ("manifest.json", edit(files={}), "cannot be read: files is {}"),
    "manifest with sums of no kind": ("manifest.json", edit(files={"a": [1]}), "cannot be read: files has no checksum"),
    "manifest with a text as step": ("manifest.json", edit(state={"step": "20"}), "cannot be read: step is '20'"),
    "manifest of a list": ("manifest.json", replace_by("[]"), "cannot be read: "),
    "manifest of deep lists": ("manifest.json", replace_by(DEEP), "cannot be read: too deeply nested"),
    "manifest torn": ("manifest.json", tear, "cannot be read"),
    "manifest binary": ("manifest.json", replace_by(b"\xff\x00"), "cannot be read: "),
    "manifest missing": ("manifest.json", Path.unlink, "cannot be read: No such file"),
    "shard flipped": (SHARD, flip, CHANGED),
    "shard truncated": (SHARD, truncate, CHANGED),
    "shard emptied": (SHARD, replace_by(b""), "changed since it was saved: 0 bytes"),
    "shard missing": (SHARD, Path.unlink, "missing"),
    "shard added": ("shards/planted_optim_states.pt", Path.touch, "was not there when it was saved"),
    "random states flipped": ("random-0.safetensors", flip, CHANGED),
    "chat template edited": ("chat_template.jinja", replace_by("{{ y }}"), CHANGED),
}
POINTER: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "missing": (Path.unlink, "is missing"),
    "torn": (tear, "damaged: "),
    "binary": (replace_by(b"\xff\x00"), "damaged: "),
    "empty": (replace_by(b""), "damaged: "),
    "a list": (replace_by("[]"), "damaged: "),
    "deep lists": (replace_by(DEEP), "damaged: too deeply nested"),
    "digests of no kind": (edit(manifests={"step-00000020": 7}), "damaged: not names and digests"),
    "a folder that is gone": (edit(checkpoint="step-00000099"), "names step-00000099, which is no checkpoint there"),
    "outside": (edit(checkpoint="../../other"), "names ../../other, which is no checkpoint there"),
    "an older one": (edit(checkpoint="step-00000010"), "names step-00000010, and step-00000020 is there"),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with checkpoints of step 10, whose weights are 10, and of step 20."""
    for step in (10, 20):
        store(tmp_path, keep=2).save(Engine(step), RunState(step=step))
    return tmp_path


def resume(run: Path) -> tuple[int, int, str]:
    """(step, weights, what is said) of the run as it resumes."""
    engine, saved = Engine(), store(run, keep=2)
    state = saved.restore(engine)
    assert state
    return state.step, engine.value, saved.note


def content(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("fault", CHECKPOINT)
def test_a_damaged_checkpoint_is_named_and_set_aside_and_the_one_before_is_used(run: Path, fault: str) -> None:
    file, damage, message = CHECKPOINT[fault]
    newest = run / "checkpoints" / "step-00000020"
    damage(newest / file)
    as_it_was = content(newest)
    step, value, note = resume(run)
    assert (step, value) == (10, 10)
    assert re.search(f"step-00000020/{file}: {message}", note)
    assert "Step 10 is the newest that is as it was saved, so 10 steps more must be computed again" in note
    assert "Set aside as step-00000020.damaged" in note
    assert content(newest.with_name("step-00000020.damaged")) == as_it_was  # nothing of it is gone
    assert resume(run) == (10, 10, "")


@pytest.mark.parametrize("fault", POINTER)
def test_a_damaged_pointer_is_named_and_the_newest_checkpoint_is_used(run: Path, fault: str) -> None:
    damage, message = POINTER[fault]
    damage(run / "checkpoints" / "latest.json")
    step, value, note = resume(run)
    assert (step, value) == (20, 20)
    assert f"latest.json: {message}" in note
    assert resume(run) == (20, 20, "")  # it is whole again


@pytest.mark.parametrize("pointer", [True, False])
def test_where_none_is_whole_nothing_starts_and_nothing_is_moved(run: Path, pointer: bool) -> None:
    checkpoints = run / "checkpoints"
    for path in folders.checkpoints(checkpoints):
        flip(path / SHARD)
    if not pointer:
        (checkpoints / "latest.json").unlink()
    as_it_was = content(checkpoints)
    with pytest.raises(RunError, match=r"none of the checkpoints there can be used: .*step-00000020.*step-00000010"):
        resume(run)
    assert content(checkpoints) == as_it_was


def test_what_was_set_aside_does_not_start_from_zero(run: Path) -> None:
    """Nor does it where the others and the pointer are gone."""
    checkpoints = run / "checkpoints"
    for path in folders.checkpoints(checkpoints):
        folders.set_aside(path)
    (checkpoints / "latest.json").unlink()
    with pytest.raises(RunError, match=r"step-00000010\.damaged, step-00000020\.damaged: set aside earlier"):
        resume(run)


def test_two_are_set_aside_under_two_names(run: Path) -> None:
    checkpoints = run / "checkpoints"
    for _ in range(2):
        flip(checkpoints / "step-00000020" / SHARD)
        resume(run)
        store(run, keep=2).save(Engine(20), RunState(step=20))
    names = sorted(path.name for path in folders.damaged(checkpoints))
    assert names == ["step-00000020.damaged", "step-00000020.damaged-2"]
    assert resume(run) == (20, 20, "")


def test_a_reader_that_is_not_the_run_moves_nothing(run: Path) -> None:
    flip(run / "checkpoints" / "step-00000020" / SHARD)
    as_it_was = content(run)
    checkpoint = find_checkpoint.newest(run / "checkpoints", "mine", SingleProcess())
    assert checkpoint
    assert checkpoint.state.step == 10
    assert content(run) == as_it_was


def test_control_without_verification_the_damaged_one_is_used(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_checkpoint, "changes", lambda *_: [])
    file, damage, _ = CHECKPOINT["chat template edited"]
    damage(run / "checkpoints" / "step-00000020" / file)
    assert resume(run) == (20, 20, "")


def test_control_without_the_pointers_digest_an_edited_manifest_is_believed(run: Path) -> None:
    edit(manifests={})(run / "checkpoints" / "latest.json")
    edit(state={"step": 20, "position": 99})(run / "checkpoints" / "step-00000020" / "manifest.json")
    assert resume(run) == (20, 20, "")
