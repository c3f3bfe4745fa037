"""Prepared data that changed on the disk: nothing trains on them, they are named, and prepared again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.data.encode.test_stream import LENGTH, configured, tiny_tokenizer
from tunefleet.base import digests
from tunefleet.base.errors import UserError
from tunefleet.data.prepare import Prepared, prepare
from tunefleet.data.store import manifest


def prepared(folder: Path) -> Prepared:
    return prepare(configured(folder, folder / "cache"), tiny_tokenizer(), LENGTH)


def flip(path: Path) -> None:
    """One bit, in place, and the time of the last change is as it was."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def other_set(folder: Path) -> None:
    """A data set with its manifest, whole by itself, in the place of another."""
    shutil.rmtree(folder / "train")
    shutil.copytree(folder / "b", folder / "train")


def other_count(folder: Path) -> None:
    path = folder / "names.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bad_rows": 7}))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "tokens": lambda folder: flip(folder / "train" / "tokens.npy"),
    "validation": lambda folder: flip(folder / "b" / "tokens.npy"),
    "manifest": lambda folder: (folder / "train" / "files.json").write_text("{}") and None,
    "card": lambda folder: (folder / "train" / "card.json").write_text("[" * 3000) and None,
    "another set": other_set,
    "counts": other_count,
    "names": lambda folder: (folder / "names.json").write_bytes(b"\xff\xfe"),
    "missing": lambda folder: (folder / "train" / "bounds.npy").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_data_are_named_set_aside_and_prepared_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    first = prepared(tmp_path)
    good = first.train.tokens.tolist()
    assert prepared(tmp_path).was_cached
    DAMAGE[damage](first.folder)
    repeated = prepared(tmp_path)
    assert not repeated.was_cached
    assert repeated.train.tokens.tolist() == good
    said = capsys.readouterr().err
    assert f"prepared data are damaged, and prepared again: {first.folder}" in said
    assert first.folder.with_suffix(".damaged").is_dir()
    assert prepared(tmp_path).was_cached


def test_without_the_sources_nothing_trains_on_damaged_data(tmp_path: Path) -> None:
    config = configured(tmp_path, tmp_path / "cache")
    flip(prepare(config, tiny_tokenizer(), LENGTH).folder / "train" / "tokens.npy")
    for path in tmp_path.glob("*.jsonl"):
        path.unlink()
    with pytest.raises(UserError):
        prepare(config, tiny_tokenizer(), LENGTH)


def test_control_unverified_a_flipped_bit_is_trained_on(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    good = first.train.tokens.tolist()
    flip(first.folder / "train" / "tokens.npy")
    with patch.object(manifest, "expect_whole", lambda *_: None):
        repeated = prepared(tmp_path)
    assert repeated.was_cached
    assert repeated.train.tokens.tolist() != good


def test_large_files_are_read_once_since_their_last_change(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    reads: list[Path] = []
    file_digest = digests.file_digest
    with (
        patch.multiple(digests, LARGE=0, SETTLED=-1.0),
        patch.object(digests, "file_digest", lambda path: (reads.append(path), file_digest(path))[1]),
    ):
        prepared(tmp_path)
        assert first.folder / "train" / "tokens.npy" in reads
        reads.clear()
        assert prepared(tmp_path).was_cached
        assert not [path for path in reads if first.folder in path.parents]
        flip(first.folder / "train" / "tokens.npy")
        assert not prepared(tmp_path).was_cached
